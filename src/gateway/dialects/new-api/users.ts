import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import { TerminalError, TransientError } from "../../../lib/errors.ts";
import type { Sensitive } from "../../../lib/sensitive.ts";
import type { GatewayApi } from "./api.ts";
import { isInvalid, isNotFound, refusal, type Said } from "./envelope.ts";
import { demandUserID, type UserID, userID } from "./ids.ts";
import { terminal, unavailable } from "../../failures.ts";

const STATUS_ENABLED = 1;
/** 10 and more may administer the gateway. */
const ROLE_ADMIN = 10;
/** The most that the gateway gives at once. */
export const USERS_AT_ONCE = 100;
/** A name that is derived is on the first page; only accounts that somebody made on purpose can fill more. */
const SEARCH_PAGES = 3;
/** A create can fail for a code that the gateway draws at random; more often than this it is something else. */
const CREATES = 3;

/** Strict: what is read here is written back, so a wrong type must not pass for an empty value. */
const user = z.object({
  id: z.int(),
  username: z.string().max(1_000),
  display_name: z.string().max(1_000),
  role: z.int(),
  status: z.int(),
  group: z.string().max(1_000),
  quota: z.int(),
  used_quota: z.int(),
  remark: z.string().max(10_000).nullish(),
  DeletedAt: z.unknown().optional(),
});
const page = z.object({
  items: z
    .array(z.unknown())
    .max(10 * USERS_AT_ONCE)
    .nullable(),
  total: z.int().nonnegative(),
});

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

export interface Changes {
  readonly group?: string;
  readonly remark?: string;
  readonly displayName?: string;
  readonly password?: Sensitive;
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
  /**
   * Reads the account, and changes what `adjust` says of it as it is now; the gateway overwrites all fields, so the others
   * are sent as they were read. Undefined from `adjust`: nothing to do. Returns the account as it is then.
   */
  change(id: UserID, adjust: (latest: User) => Changes | undefined, doing: string, signal: AbortSignal): Promise<User>;
  /** Sets what is left to spend, and reads it back: some releases answer success and do nothing. */
  setQuota(id: UserID, quota: number, doing: string, signal: AbortSignal): Promise<void>;
  /** For good, and its name is free again; one that is gone is success. Some releases leave its tokens behind. */
  remove(id: UserID, doing: string, signal: AbortSignal): Promise<void>;
  /** False: there is no such account. */
  setEnabled(id: UserID, enabled: boolean, doing: string, signal: AbortSignal): Promise<boolean>;
}

export function makeUsers(api: GatewayApi): Users {
  const { adminID } = api;
  /** Releases until April 2026 set the quota with the other fields, later ones by an action of its own. Seen, not asked. */
  let quotaInPut: boolean | undefined;

  async function get(id: UserID, signal: AbortSignal): Promise<User | undefined> {
    const doing = `the look at account ${id}`;
    const said = await api.admin({ method: "GET", path: `/api/user/${id}` }, doing, signal);
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
    const said = await api.admin({ method: "GET", path: `${path}?${asked.toString()}` }, doing, signal);
    const parsed = page.safeParse(expectDone(said, doing));
    if (!parsed.success) throw notAsked(doing);
    const items = parsed.data.items ?? [];
    return { items, doing, total: parsed.data.total };
  }

  async function search(word: string, signal: AbortSignal): Promise<User[]> {
    const found: User[] = [];
    for (let number = 1, seen = 0; number <= SEARCH_PAGES; number += 1) {
      const query = { keyword: word, group: "" };
      const { items, doing, total } = await readPage("/api/user/search", query, number, signal);
      found.push(...items.flatMap((item) => read(item, doing) ?? []));
      seen += items.length;
      if (items.length === 0 || seen >= total) return found;
    }
    return found;
  }

  async function byName(username: string, signal: AbortSignal): Promise<User | undefined> {
    const same = (await search(username, signal)).filter((found) => found.username === username);
    return same.find(({ deleted }) => !deleted) ?? same[0];
  }

  async function manage(body: Readonly<Record<string, unknown>>, id: UserID, doing: string, signal: AbortSignal) {
    // Without an id the gateway would take its first user, the root.
    const checked = demandUserID(id, adminID, doing);
    return api.admin({ method: "POST", path: "/api/user/manage", body: { ...body, id: checked } }, doing, signal);
  }

  async function demand(id: UserID, doing: string, signal: AbortSignal): Promise<User> {
    const found = await get(demandUserID(id, adminID, doing), signal);
    if (found !== undefined) return found;
    throw unavailable(`The gateway's account ${id} was gone during ${doing}; it is looked for again.`);
  }

  async function put(latest: User, changes: Changes & { quota?: number }, doing: string, signal: AbortSignal) {
    const { password } = changes;
    const body = {
      id: demandUserID(latest.id, adminID, doing),
      username: latest.username,
      display_name: changes.displayName ?? latest.displayName,
      group: changes.group ?? latest.group,
      remark: changes.remark ?? latest.remark,
      // Releases until April 2026 take it for 0 where it is missing, later ones do not look at it.
      quota: changes.quota ?? latest.quota,
      ...(password === undefined ? {} : { password: password.reveal() }),
    };
    const secrets = password === undefined ? [] : [password.reveal()];
    expectTaken(await api.admin({ method: "PUT", path: "/api/user/", body }, doing, signal, secrets), doing);
  }

  const change: Users["change"] = async (id, adjust, doing, signal) => {
    const latest = await demand(id, doing, signal);
    const changes = adjust(latest);
    if (changes === undefined) return latest;
    await put(latest, changes, doing, signal);
    const { password: _, ...fields } = changes;
    return { ...latest, ...fields };
  };

  type SetQuota = (id: UserID, quota: number, doing: string, signal: AbortSignal) => Promise<void>;

  const addQuota: SetQuota = async (id, quota, doing, signal) =>
    expectTaken(await manage({ action: "add_quota", mode: "override", value: quota }, id, doing, signal), doing);

  const putQuota: SetQuota = async (id, quota, doing, signal) =>
    put(await demand(id, doing, signal), { quota }, doing, signal);

  return {
    get,
    async page(number, signal) {
      const { items, total } = await readPage("/api/user/", {}, number, signal);
      // One that cannot be read is as good as gone, and looked at by itself; the others are read all the same.
      const readable = items.filter((item) => user.safeParse(item).success);
      return { users: readable.flatMap((item) => read(item, "the list of accounts") ?? []), total };
    },
    search,
    byName,

    async create({ username, password, displayName }, doing, signal) {
      const body = { username, password: password.reveal(), display_name: displayName };
      for (let attempt = 1; ; attempt += 1) {
        const request = { method: "POST", path: "/api/user/", body } as const;
        const said = await api.admin(request, doing, signal, [password.reveal()]);
        if (said.kind === "done") return "created";
        if (isInvalid(said)) throw invalid(said.message, doing);
        if ((await byName(username, signal)) !== undefined) return "taken";
        if (attempt >= CREATES) throw refusal(said, doing);
      }
    },

    change,

    async setQuota(id, quota, doing, signal) {
      const before = await demand(id, doing, signal);
      const attempts = quotaInPut === true ? [putQuota, addQuota] : [addQuota, putQuota];
      for (const attempt of attempts) {
        await attempt(id, quota, doing, signal);
        const after = await demand(id, doing, signal);
        // What was spent meanwhile counts, so it need not be the very number.
        if (after.quota !== quota && Math.abs(after.quota - quota) >= Math.abs(after.quota - before.quota)) continue;
        quotaInPut = attempt === putQuota;
        return;
      }
      throw unavailable(
        `The gateway answered success to ${doing} and did not set the quota; if it stays so, its admin must upgrade it.`,
        { upstreamStatus: 200 },
      );
    },

    async remove(id, doing, signal) {
      const checked = demandUserID(id, adminID, doing);
      // Until May 2026 nothing was answered where it was done, and success where it was not.
      const request = { method: "DELETE", path: `/api/user/${checked}`, mayBeEmpty: true } as const;
      const said = await api.admin(request, doing, signal);
      if (isNotFound(said)) return;
      expectDone(said, doing);
      if ((await get(checked, signal)) === undefined) return;
      throw unavailable(`The gateway answered success to ${doing} and still has the account; it is tried again.`, {
        upstreamStatus: 200,
      });
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

function expectTaken(said: Said, doing: string): void {
  if (said.kind === "done") return;
  throw isInvalid(said) ? invalid(said.message, doing) : refusal(said, doing);
}

function invalid(message: string, doing: string): TerminalError {
  return terminal(REASON.RequestRefused, `The gateway refused ${doing}: ${message}`, {
    upstreamStatus: 200,
    body: message,
  });
}

function notAsked(doing: string): TransientError {
  return unavailable(
    `What answered to ${doing} is not what was asked for; if it stays so, correct the Tenant's newapi.url and dialect.`,
    { upstreamStatus: 200 },
  );
}
