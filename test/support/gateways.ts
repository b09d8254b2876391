/** Gateways to hold to the contract: stand-ins of every dialect and generation, or somebody's real one. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { WaitingError } from "../../src/lib/errors.ts";
import { type MasterKeys, parseMasterKeys } from "../../src/lib/masterKeys.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { makeAdminV1Gateway } from "../../src/newapi/adminV1.ts";
import type { AccountRequest, Gateway } from "../../src/newapi/gateway.ts";
import { makeNewApiGateway } from "../../src/newapi/newApi/gateway.ts";
import { type Limits, makeLimits } from "../../src/newapi/newApi/limits.ts";
import { derive } from "../../src/newapi/newApi/masterKeys.ts";
import { ADMIN } from "../../stack/newapi/newApi/memory.ts";
import { startStandIn } from "../../stack/newapi/server.ts";
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

export interface Target {
  readonly url: string;
  readonly token: Sensitive;
  /** Only a stand-in fails on command. */
  readonly control: StandInControl | undefined;
  /** A client of this gateway; without options the usual one. */
  client(options?: GatewayOptions): Gateway;
  /** Passwords that were set anew, since the start. */
  readonly resets: string[];
  /** Again and again, for as long as it only waits for a limit. */
  patiently<T>(act: () => Promise<T>): Promise<T>;
  /** Leaves nothing alive of this person; nothing at all where the gateway can delete. */
  remove(request: AccountRequest): Promise<void>;
  close(): Promise<void>;
}

export interface Candidate {
  readonly name: string;
  readonly dialect: "admin-v1" | "new-api";
  readonly failsOnCommand: boolean;
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
        timeoutMs: 2 * 3_600_000,
        start: () => Promise.resolve(target(dialect, real)),
      },
    ];
  }
  return [
    standIn("admin-v1", "cookie", false),
    standIn("new-api", "cookie", false),
    standIn("new-api", "bearer", false),
    standIn("new-api", "cookie", true),
  ];
}

function standIn(dialect: Candidate["dialect"], generation: "cookie" | "bearer", limits: boolean): Candidate {
  const suffix = dialect === "admin-v1" ? "" : `, ${generation} logins${limits ? ", its limits on" : ""}`;
  return {
    name: `the stand-in's ${dialect}${suffix}`,
    dialect,
    failsOnCommand: true,
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
}

function target(dialect: Candidate["dialect"], where: Where): Target {
  const { url, token, userID, control } = where;
  const resets: string[] = [];
  let skewMs = 0;
  const clock: Clock = { now: () => systemClock.now() + skewMs };
  const limits = makeLimits(clock);

  const client = (options: GatewayOptions = {}): Gateway => {
    const common = { url: options.url ?? url, token: options.token ?? token, clock };
    if (dialect === "admin-v1") return makeAdminV1Gateway(common);
    return makeNewApiGateway({
      ...common,
      userID,
      tenantID: options.tenantID ?? TENANT,
      masterKeys: options.masterKeys ?? MASTER_KEYS,
      limits: options.limits ?? limits,
      passwordReset: (uuid, why) => void resets.push(`${uuid} ${why}`),
    });
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

  async function remove(request: AccountRequest): Promise<void> {
    const gateway = client();
    const left = await patiently(() => gateway.find(request, never));
    if (left === undefined) return;
    await patiently(() => gateway.disable(left.userID, request.uuid, never));
    if (dialect === "new-api" && control === undefined)
      await patiently(() => purge(left.userID, left.username, request));
  }

  /** Deleting alone would leave the keys behind, and on SQLite give them to the next user: they go first. */
  async function purge(id: string, username: string, { uuid }: AccountRequest): Promise<void> {
    const base = url.replace(/\/+$/, "");
    const asAdmin = { authorization: `Bearer ${token.reveal()}`, "new-api-user": userID };
    const send = async (method: string, path: string, headers: Record<string, string>, body?: unknown) => {
      const json = { ...headers, "content-type": "application/json" };
      const answer = await fetch(`${base}${path}`, { method, headers: json, body: JSON.stringify(body) ?? null });
      if (answer.status === 429) {
        throw new WaitingError({ code: "GatewayLimited", message: "a limit", retryAfterMs: 60_000 });
      }
      return { answer, body: (await answer.json()) as { data?: unknown } };
    };
    await send("POST", "/api/user/manage", asAdmin, { id: Number(id), action: "enable" });
    const password = derive(MASTER_KEYS, TENANT, base).password(uuid, MASTER_KEYS.current)?.reveal();
    const login = await send("POST", "/api/user/login", {}, { username, password });
    const bearer = (login.body.data as { access_token?: string } | undefined)?.access_token;
    const cookie = login.answer.headers.getSetCookie().join("; ");
    const asUser = {
      ...(bearer === undefined ? { cookie } : { authorization: `Bearer ${bearer}` }),
      "new-api-user": id,
    };
    const tokens = await send("GET", "/api/token/?p=1&page_size=100", asUser);
    const items = (tokens.body.data as { items?: { id: number }[] } | undefined)?.items ?? [];
    for (const item of items) await send("DELETE", `/api/token/${item.id}`, asUser);
    await send("DELETE", `/api/user/${id}`, asAdmin);
  }

  return { url, token, control, client, resets, patiently, remove, close: where.close };
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
