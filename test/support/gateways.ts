/** Gateways to hold to the contract: stand-ins of every dialect and generation, or somebody's real one. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { WaitingError } from "../../src/lib/errors.ts";
import { type MasterKeys, parseMasterKeys } from "../../src/lib/masterKeys.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { makeGateways } from "../../src/gateway/gateways.ts";
import type { AccountHolder, AccountRequest, Gateway } from "../../src/gateway/gateway.ts";
import { makeNewApiGateway } from "../../src/gateway/dialects/new-api/newApiGateway.ts";
import { type Limits, makeLimits } from "../../src/gateway/dialects/new-api/limits.ts";
import { derive } from "../../src/gateway/dialects/new-api/masterKeys.ts";
import { searchWord } from "../../src/gateway/dialects/new-api/align.ts";
import { ADMIN } from "../../stack/newapi/newApi/memory.ts";
import { type Generation, GENERATIONS } from "../../stack/newapi/newApi/settings.ts";
import { startStandIn } from "../../stack/newapi/server.ts";
import { TEST_DIALECTS, type TestDialect } from "./dialects/index.ts";
import { startPlainServer } from "./dialects/plain/server.ts";
import { type StandInControl, standInControl } from "./standInControl.ts";

export const never = new AbortController().signal;
export const TENANT = "contract-acme";
export const MASTER_KEYS = parseMasterKeys(`1: ${"contract-suite-".repeat(3)}`);

export interface GatewayOptions {
  readonly token?: Sensitive;
  readonly masterKeys?: MasterKeys;
  readonly limits?: Limits;
  readonly tenantID?: string;
  readonly url?: string;
}

export interface AdminAnswer {
  readonly success: boolean;
  readonly message?: string;
  readonly data?: unknown;
}

/** One account as the gateway's admin API shows it. */
export interface AccountSeen {
  readonly id: number;
  readonly username: string;
  readonly display_name: string;
  readonly status: number;
  readonly group: string;
  readonly quota: number;
  readonly remark?: string;
}

export interface TokenSeen {
  readonly id: number;
  readonly name: string;
  readonly status: number;
}

export interface Counts {
  readonly accounts: number;
  readonly keys: number;
}

export interface Target {
  readonly url: string;
  readonly token: Sensitive;
  /** Only a stand-in fails on command. */
  readonly control: StandInControl | undefined;
  /** A client of this gateway; without options the usual one. */
  client(options?: GatewayOptions): Gateway;
  /** Passwords that were set again, since the start. */
  readonly resets: string[];
  /** Again and again, for as long as it only waits for a limit. */
  patiently<T>(act: () => Promise<T>): Promise<T>;
  /** A stand-in's clock and ours go ahead until no limit holds anything. */
  windowsPass(): Promise<void>;
  /** By hand, with the admin's token: the body of the answer, undefined when there is none. */
  admin(method: string, path: string, body?: unknown): Promise<AdminAnswer | undefined>;
  /** Dialect new-api: the accounts that bear this person's mark, as its admin sees them. */
  accountsOf(person: Pick<AccountHolder, "uuid" | "tenantID">): Promise<AccountSeen[]>;
  /** Dialect new-api: the living tokens of this person, who must be enabled; `url`: of the client that made them. */
  tokensOf(person: Pick<AccountHolder, "uuid" | "tenantID">, url?: string): Promise<TokenSeen[]>;
  /** How many accounts and living keys of this person there are, as the gateway itself has it. */
  counts(request: AccountRequest, madeAt: string): Promise<Counts>;
  /** Dialect new-api: sets what is left to spend, as this release wants it. */
  spendable(id: number, quota: number): Promise<void>;
  /** Leaves nothing alive of this person; nothing at all where the gateway can delete. */
  remove(request: AccountRequest): Promise<void>;
  close(): Promise<void>;
}

export interface Candidate {
  readonly name: string;
  readonly dialect: TestDialect;
  readonly failsOnCommand: boolean;
  /** It can be asked how many accounts and keys somebody has. */
  readonly countable: boolean;
  /** Undefined: it is not known. */
  readonly generation: Generation | undefined;
  readonly limits: boolean;
  /** Real limits may hold a test up for as long as they last. */
  readonly timeoutMs: number;
  readonly start: () => Promise<Target>;
}

/**
 * `NEWAPI_URL` and `NEWAPI_ADMIN_TOKEN` name a real gateway; with `NEWAPI_ADMIN_USER_ID` it speaks new-api, without it
 * admin-v1. Without them, the stand-ins.
 */
export function candidates(): Candidate[] {
  const { NEWAPI_URL: url = "", NEWAPI_ADMIN_TOKEN: token = "", NEWAPI_ADMIN_USER_ID: userID = "" } = process.env;
  if (url !== "" && token !== "") {
    const dialect = userID === "" ? "admin-v1" : "new-api";
    const real = { url, token: new Sensitive(token), userID, control: undefined, close: async () => {} };
    return [
      {
        name: "the gateway at NEWAPI_URL",
        dialect,
        failsOnCommand: false,
        countable: dialect === "new-api",
        generation: undefined,
        limits: false,
        timeoutMs: 2 * 3_600_000,
        start: () => Promise.resolve(target(dialect, real)),
      },
    ];
  }
  return [
    standIn("admin-v1", "2026-07", false),
    ...GENERATIONS.map((generation) => standIn("new-api", generation, false)),
    standIn("new-api", "2026-07", true),
    standIn("new-api", "2026-08", true),
    thirdDialect(),
  ];
}

/** Not shipped, and added in no other way than a shipped one would be. */
function thirdDialect(): Candidate {
  return {
    name: "a third dialect",
    dialect: "plain",
    failsOnCommand: false,
    countable: true,
    generation: undefined,
    limits: false,
    timeoutMs: 30_000,
    async start() {
      const password = randomUUID();
      const server = await startPlainServer(password);
      const counts = ({ uuid }: AccountRequest) =>
        Promise.resolve(server.has(uuid) ? { accounts: 1, keys: 1 } : { accounts: 0, keys: 0 });
      const { url } = server;
      const close = () => server.close();
      return target("plain", { url, token: new Sensitive(password), userID: "", control: undefined, close, counts });
    },
  };
}

function standIn(dialect: "admin-v1" | "new-api", generation: Generation, limits: boolean): Candidate {
  const suffix = dialect === "admin-v1" ? "" : ` of ${generation}${limits ? ", its limits on" : ""}`;
  return {
    name: `the stand-in's ${dialect}${suffix}`,
    dialect,
    failsOnCommand: true,
    countable: true,
    generation: dialect === "admin-v1" ? undefined : generation,
    limits,
    timeoutMs: 30_000,
    async start() {
      const adminToken = `admin-${randomUUID()}`;
      const { url, close } = await startStandIn({ adminToken, generation, limits });
      const control = standInControl(url);
      return target(dialect, { url, token: new Sensitive(adminToken), userID: String(ADMIN), control, close });
    },
  };
}

interface Where {
  readonly url: string;
  readonly token: Sensitive;
  readonly userID: string;
  readonly control: StandInControl | undefined;
  readonly close: () => Promise<void>;
  readonly counts?: Target["counts"];
}

function target(dialect: Candidate["dialect"], where: Where): Target {
  const { url, token, userID, control } = where;
  const base = url.replace(/\/+$/, "");
  const resets: string[] = [];
  let skewMs = 0;
  const clock: Clock = { now: () => systemClock.now() + skewMs };
  const limits = makeLimits(clock);

  const client = (options: GatewayOptions = {}): Gateway => {
    const common = { tenantID: options.tenantID ?? TENANT, url: options.url ?? url };
    const masterKeys = options.masterKeys ?? MASTER_KEYS;
    const adminToken = options.token ?? token;
    const passwordReset = (uuid: string, why: string) => void resets.push(`${uuid} ${why}`);
    if (dialect === "new-api") {
      // Behind a proxy too it is one gateway, with one limit.
      const more = { limits: options.limits ?? limits, clock, masterKeys, passwordReset };
      return makeNewApiGateway({ ...common, token: adminToken, userID, ...more });
    }
    const { credentialKeys } = TEST_DIALECTS[dialect];
    const credential = Object.fromEntries(credentialKeys.map((key) => [key, adminToken]));
    const make = makeGateways(TEST_DIALECTS, { clock, masterKeys, passwordReset, limitRaised: () => undefined });
    return make({ dialect, ...common, credential });
  };

  async function patiently<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof WaitingError)) throw error;
        const ms = error.retryAfterMs ?? 1_000;
        if (control === undefined) await sleep(ms);
        else {
          // The stand-in's clock and ours go ahead together.
          skewMs += ms;
          await control.newApi({ skewMs });
        }
      }
    }
  }

  async function windowsPass(): Promise<void> {
    skewMs += 30 * 60_000;
    await control?.newApi({ skewMs });
  }

  async function remove(request: AccountRequest): Promise<void> {
    const gateway = client();
    if (control === undefined && gateway.remove !== undefined) {
      const leaving = { ...request, enabled: false };
      await patiently(async () => gateway.remove?.(leaving, () => undefined, never));
      return;
    }
    const left = await patiently(() => gateway.find(request, never));
    if (left !== undefined) await patiently(() => gateway.disable(left.userID, request.uuid, never));
  }

  async function send(method: string, path: string, headers: Record<string, string>, body?: unknown) {
    for (;;) {
      const json = { "content-type": "application/json", ...headers };
      const answer = await fetch(`${base}${path}`, { method, headers: json, body: JSON.stringify(body) ?? null });
      const text = await answer.text();
      if (answer.status === 429) {
        await sleep(control === undefined ? 60_000 : 0);
        if (control !== undefined) await control.newApi({ skewMs: (skewMs += 60_000) });
      } else if (!text.includes("database is locked")) return { answer, text };
    }
  }

  const asAdmin = { authorization: `Bearer ${token.reveal()}`, "new-api-user": userID };

  async function admin(method: string, path: string, body?: unknown): Promise<AdminAnswer | undefined> {
    const { text } = await send(method, path, asAdmin, body);
    return text === "" ? undefined : (JSON.parse(text) as AdminAnswer);
  }

  async function accountsOf(person: Pick<AccountHolder, "uuid" | "tenantID">): Promise<AccountSeen[]> {
    const query = `keyword=${searchWord(person)}&group=&p=1&page_size=100`;
    const found = (await admin("GET", `/api/user/search?${query}`))?.data as { items: AccountSeen[] | null };
    return (found.items ?? []).filter(({ remark }) => remark?.includes(`${person.tenantID}/${person.uuid}`));
  }

  async function tokensOf(person: Pick<AccountHolder, "uuid" | "tenantID">, madeAt = url): Promise<TokenSeen[]> {
    const [account] = await accountsOf(person);
    if (account === undefined) return [];
    const { id, username } = account;
    const derived = derive(MASTER_KEYS, person.tenantID, madeAt.replace(/\/+$/, ""));
    const password = derived.password(person.uuid, MASTER_KEYS.current)?.reveal();
    const { answer, text } = await send("POST", "/api/user/login", {}, { username, password });
    const { data } = JSON.parse(text) as { data?: { access_token?: string; session?: { sid: string } } };
    const session: Record<string, string> =
      data?.access_token === undefined
        ? { cookie: answer.headers.getSetCookie()[0]?.split(";")[0] ?? "" }
        : { authorization: `Bearer ${data.access_token}` };
    const own = { ...session, "new-api-user": String(id) };
    const listed = await send("GET", "/api/token/?p=1&page_size=100", own);
    const tokens = JSON.parse(listed.text) as { data: { items: TokenSeen[] | null } };
    if (data?.session !== undefined) await send("DELETE", `/api/user/sessions/${data.session.sid}`, own);
    return (tokens.data.items ?? []).filter(({ status }) => status === 1);
  }

  async function spendable(id: number, quota: number): Promise<void> {
    await admin("POST", "/api/user/manage", { id, action: "add_quota", mode: "override", value: quota });
    const user = (await admin("GET", `/api/user/${id}`))?.data as AccountSeen;
    const { username, display_name, group, remark } = user;
    if (user.quota !== quota) await admin("PUT", "/api/user/", { id, username, display_name, group, remark, quota });
  }

  async function counts(request: AccountRequest, madeAt: string): Promise<Counts> {
    const { uuid, tenantID } = request;
    if (where.counts !== undefined) return where.counts(request, madeAt);
    if (dialect !== "new-api") {
      const mine = ((await control?.users()) ?? []).filter(({ external_id }) => external_id === uuid);
      return { accounts: mine.length, keys: mine.reduce((sum, { liveKeys }) => sum + liveKeys, 0) };
    }
    const accounts = await accountsOf({ uuid, tenantID });
    return { accounts: accounts.length, keys: (await tokensOf({ uuid, tenantID }, madeAt)).length };
  }

  const api = { admin, accountsOf, tokensOf, spendable, counts };
  return { url, token, control, client, resets, patiently, windowsPass, remove, ...api, close: where.close };
}

/** A person of a test's own. */
export function personRequest(given: Partial<AccountRequest> = {}): AccountRequest {
  const uuid = randomUUID();
  return {
    uuid,
    tenantID: TENANT,
    email: `c-${uuid}@acme.example`,
    tier: "default",
    quota: undefined,
    userID: undefined,
    enabled: true,
    keyVersion: "0",
    rotating: false,
    overlapping: false,
    masterKey: undefined,
    keycloakUserID: randomUUID(),
    keycloakRealm: "acme",
    ...given,
  };
}
