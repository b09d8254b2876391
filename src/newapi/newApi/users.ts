import { z } from "zod";

import { REASON } from "../../api/reasons.ts";
import { TerminalError, TransientError } from "../../lib/errors.ts";
import type { Sensitive } from "../../lib/sensitive.ts";
import type { Connection } from "./connection.ts";
import { isInvalid, isNotFound, refusal, type Said } from "./envelope.ts";
import { demandUserID, type UserID, userID } from "./ids.ts";

const STATUS_ENABLED = 1;
/** 10 and more may administer the gateway. */
const ROLE_ADMIN = 10;
/** The most that the gateway gives at once. */
export const USERS_AT_ONCE = 100;
/** A create can fail for a code that the gateway draws at random; more often than this it is something else. */
const CREATES = 3;

const user = z.object({
  id: z.int(),
  username: z.string(),
  display_name: z.string().catch(""),
  role: z.int(),
  status: z.int(),
  group: z.string().catch(""),
  quota: z.number().catch(0),
  used_quota: z.number().catch(0),
  remark: z.string().nullish(),
  DeletedAt: z.unknown().optional(),
});
const page = z.object({ items: z.array(z.unknown()).nullable(), total: z.number() });

export interface User {
  readonly id: UserID;
  readonly username: string;
  readonly displayName: string;
  readonly enabled: boolean;
  readonly group: string;
  readonly quota: number;
  readonly usedQuota: number;
  readonly remark: string;
  /** It can do nothing any more, and its name is taken for ever. */
  readonly deleted: boolean;
}

export interface NewUser {
  readonly username: string;
  readonly password: Sensitive;
  readonly displayName: string;
}

/** Accounts, with the admin's token. Nothing here is counted as critical. */
export interface Users {
  get(id: UserID, signal: AbortSignal): Promise<User | undefined>;
  /** The n-th page of all accounts, from 1, deleted ones too; `total` counts also those that are no person's. */
  page(number: number, signal: AbortSignal): Promise<{ readonly users: readonly User[]; readonly total: number }>;
  /** All whose name, display name or email contains the word, deleted ones too. */
  search(word: string, signal: AbortSignal): Promise<User[]>;
  /** By the exact name, deleted ones too: the gateway's search is for substrings. */
  byName(username: string, signal: AbortSignal): Promise<User | undefined>;
  /** `taken`: somebody has the name, which the caller must look at. */
  create(input: NewUser, doing: string, signal: AbortSignal): Promise<"created" | "taken">;
  /** Changes these fields and keeps the others: the gateway overwrites all of them. */
  change(
    current: User,
    changes: { group?: string; remark?: string; displayName?: string; password?: Sensitive },
    doing: string,
    signal: AbortSignal,
  ): Promise<void>;
  setQuota(id: UserID, quota: number, doing: string, signal: AbortSignal): Promise<void>;
  /** For good, and its name is free again; one that is gone is success. Some releases leave its tokens behind. */
  remove(id: UserID, doing: string, signal: AbortSignal): Promise<void>;
  /** False: there is no such account. */
  setEnabled(id: UserID, enabled: boolean, doing: string, signal: AbortSignal): Promise<boolean>;
}

export function makeUsers(connection: Connection): Users {
  const { adminID } = connection;

  async function get(id: UserID, signal: AbortSignal): Promise<User | undefined> {
    const doing = `the look at account ${id}`;
    const said = await connection.admin({ method: "GET", path: `/api/user/${id}` }, doing, signal);
    if (isNotFound(said)) return undefined;
    const found = read(expectDone(said, doing), doing);
    if (found === undefined || found.deleted) return undefined;
    if (found.id !== id) throw notAsked(doing);
    return found;
  }

  /** Undefined: an account that may administer the gateway, its root's or our own: none of those is a person's. */
  function read(raw: unknown, doing: string): User | undefined {
    const parsed = user.safeParse(raw);
    if (!parsed.success) throw notAsked(doing);
    const { data } = parsed;
    const id = userID(data.id, adminID);
    if (id === undefined || data.role >= ROLE_ADMIN) return undefined;
    return {
      id,
      username: data.username,
      displayName: data.display_name,
      enabled: data.status === STATUS_ENABLED,
      group: data.group,
      quota: data.quota,
      usedQuota: data.used_quota,
      remark: data.remark ?? "",
      deleted: data.DeletedAt !== null && data.DeletedAt !== undefined,
    };
  }

  async function readPage(path: string, query: Record<string, string>, number: number, signal: AbortSignal) {
    const doing = "the search for an account";
    const asked = new URLSearchParams({ ...query, p: String(number), page_size: String(USERS_AT_ONCE) });
    const said = await connection.admin({ method: "GET", path: `${path}?${asked.toString()}` }, doing, signal);
    const parsed = page.safeParse(expectDone(said, doing));
    if (!parsed.success) throw notAsked(doing);
    const items = parsed.data.items ?? [];
    return { users: items.flatMap((item) => read(item, doing) ?? []), count: items.length, total: parsed.data.total };
  }

  async function search(word: string, signal: AbortSignal): Promise<User[]> {
    const found: User[] = [];
    for (let number = 1, seen = 0; ; number += 1) {
      const { users, count, total } = await readPage("/api/user/search", { keyword: word, group: "" }, number, signal);
      found.push(...users);
      seen += count;
      if (count === 0 || seen >= total) return found;
    }
  }

  async function byName(username: string, signal: AbortSignal): Promise<User | undefined> {
    const same = (await search(username, signal)).filter((found) => found.username === username);
    return same.find(({ deleted }) => !deleted) ?? same[0];
  }

  async function manage(body: Readonly<Record<string, unknown>>, id: UserID, doing: string, signal: AbortSignal) {
    // Without an id the gateway would take its first user, the root.
    const checked = demandUserID(id, adminID, doing);
    return connection.admin(
      { method: "POST", path: "/api/user/manage", body: { ...body, id: checked } },
      doing,
      signal,
    );
  }

  return {
    get,
    page: (number, signal) => readPage("/api/user/", {}, number, signal),
    search,
    byName,

    async create({ username, password, displayName }, doing, signal) {
      const body = { username, password: password.reveal(), display_name: displayName };
      for (let attempt = 1; ; attempt += 1) {
        const request = { method: "POST", path: "/api/user/", body } as const;
        const said = await connection.admin(request, doing, signal, [password.reveal()]);
        if (said.kind === "done") return "created";
        if (isInvalid(said)) throw invalid(said.message, doing);
        if ((await byName(username, signal)) !== undefined) return "taken";
        if (attempt >= CREATES) throw refusal(said, doing);
      }
    },

    async change(current, changes, doing, signal) {
      const { password } = changes;
      const body = {
        id: demandUserID(current.id, adminID, doing),
        username: current.username,
        display_name: changes.displayName ?? current.displayName,
        group: changes.group ?? current.group,
        remark: changes.remark ?? current.remark,
        ...(password === undefined ? {} : { password: password.reveal() }),
      };
      const secrets = password === undefined ? [] : [password.reveal()];
      const said = await connection.admin({ method: "PUT", path: "/api/user/", body }, doing, signal, secrets);
      if (said.kind === "done") return;
      throw isInvalid(said) ? invalid(said.message, doing) : refusal(said, doing);
    },

    async setQuota(id, quota, doing, signal) {
      const said = await manage({ action: "add_quota", mode: "override", value: quota }, id, doing, signal);
      if (said.kind === "done") return;
      throw isInvalid(said) ? invalid(said.message, doing) : refusal(said, doing);
    },

    async remove(id, doing, signal) {
      const checked = demandUserID(id, adminID, doing);
      const said = await connection.admin({ method: "DELETE", path: `/api/user/${checked}` }, doing, signal);
      if (!isNotFound(said)) expectDone(said, doing);
    },

    async setEnabled(id, enabled, doing, signal) {
      const said = await manage({ action: enabled ? "enable" : "disable" }, id, doing, signal);
      if (isNotFound(said)) return false;
      expectDone(said, doing);
      return true;
    },
  };
}

function expectDone(said: Said, doing: string): unknown {
  if (said.kind === "done") return said.data;
  throw refusal(said, doing);
}

function invalid(message: string, doing: string): TerminalError {
  return new TerminalError({
    code: REASON.RequestRefused,
    neighbour: "newapi",
    upstreamStatus: 200,
    body: message,
    message: `The gateway refused ${doing}: ${message}`,
  });
}

function notAsked(doing: string): TransientError {
  return new TransientError({
    code: REASON.NeighbourUnavailable,
    neighbour: "newapi",
    upstreamStatus: 200,
    message: `What answered to ${doing} is not what was asked for; if it stays so, correct the Tenant's newapi.url and dialect.`,
  });
}
