import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";

import * as z from "zod";

import { sha256 } from "../accounts.ts";
import { type Call, json, jsonBody, type Reply, type Surface } from "../exchange.ts";
import { failure, limited, openAIError, success } from "./answers.ts";
import { makeLimiter } from "./limiter.ts";
import { makeMemory, type Memory, type User } from "./memory.ts";
import { freshSettings, type Generation, type Settings } from "./settings.ts";
import { tokensAPI } from "./tokens.ts";
import { shown, usersAPI } from "./users.ts";

export interface NewApi extends Surface {
  readonly memory: Memory;
  readonly settings: () => Settings;
  change(part: Partial<Settings>): void;
  clear(): void;
  /** Users but root and admin, as a test may see them. */
  state(): unknown;
}

interface Caller {
  readonly user: User;
}

const GLOBAL_WINDOW_MS = 180_000;
const VERSIONS = { "2026-02": "v0.10.9", "2026-07": "v1.0.0-rc.20", "2026-08": "v1.0.0-rc.23" };
/** How long a write to the accounts has the database for itself. */
const WRITE_MS = 2;
const WRITES = /^(?:POST|PUT) \/api\/user\/(?:manage)?$/;
const MARK = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;
const login = z.object({ username: z.string(), password: z.string() });

/**
 * The open-source gateway new-api: its `/api` and its `/v1/models`, with the answers that a running one was seen to give,
 * traps included. Asks and answers nothing under `/api/v1/`.
 */
export function newApi(adminToken: string, generation: Generation, limits: boolean): NewApi {
  const memory = makeMemory(adminToken);
  let settings = freshSettings(generation, limits);
  const limitsClock = () => Date.now() + settings.skewMs;
  const critical = makeLimiter(limitsClock);
  const all = makeLimiter(limitsClock);
  const use = (trap: "codeCollisions" | "locked"): boolean => {
    if (settings[trap] === 0) return false;
    settings = { ...settings, [trap]: settings[trap] - 1 };
    return true;
  };
  const users = usersAPI(memory, () => settings, use);
  const tokens = tokensAPI(memory, () => settings);
  const newest = () => settings.generation === "2026-08";
  const tooMany = (windowMs: number) => limited(newest() ? windowMs : undefined);
  const tooManyCritical = () => tooMany(settings.criticalWindowMs);
  /** Who writes to the accounts at this moment, and those who came meanwhile. */
  let writer: Call | undefined;
  const lockedOut = new WeakSet<Call>();
  const passes = () => critical.pass(settings.criticalLimit, settings.criticalWindowMs);

  /** Who calls, or the answer to somebody who may not. A session cookie wins over everything. */
  function caller(call: Call): Caller | Reply {
    const cookie = /(?:^|;\s*)session=([^;]+)/.exec(call.headers["cookie"] ?? "")?.[1];
    const bySession = newest() ? undefined : memory.sessions.get(cookie ?? "")?.userID;
    const presented = /^(?:Bearer )?(.+)$/.exec(call.headers["authorization"] ?? "")?.[1];
    if (bySession === undefined && presented === undefined) {
      return failure("not logged in and no access token provided", 401, newest() ? "AUTH_UNAUTHORIZED" : undefined);
    }
    const byBearer = newest() ? memory.sessions.get(presented ?? "")?.userID : undefined;
    const byToken = [...memory.users.values()].find(
      (user) => user.accessToken !== undefined && user.accessToken === presented && user.deletedAt === null,
    );
    const sessionID = bySession ?? byBearer;
    // A cookie of the older generation is believed as it is, even when its user is gone or disabled.
    const user = sessionID === undefined ? byToken : (memory.users.get(sessionID) ?? ghost(sessionID));
    if (user === undefined) {
      return newest() ? failure("invalid access token", 401, "AUTH_UNAUTHORIZED") : failure("invalid access token");
    }
    if (!newest()) {
      const claimed = call.headers["new-api-user"];
      if (claimed === undefined) return failure("New-Api-User header not provided", 401);
      if (!/^-?\d+$/.test(claimed)) return failure("New-Api-User header format error", 401);
      if (Number(claimed) !== user.id) return failure("New-Api-User does not match the logged in user", 401);
    }
    if (user.status === 2 && (newest() || sessionID === undefined)) {
      return newest() ? failure("User has been banned", 401, "AUTH_USER_DISABLED") : failure("User has been banned");
    }
    return { user };
  }

  const ghost = (id: number): User => ({ id, username: "", role: 1, status: 1 }) as User;

  function asAdmin(call: Call, act: () => Reply): Reply {
    const who = caller(call);
    if (!("user" in who)) return who;
    if (who.user.role < 10) {
      return newest()
        ? failure("insufficient privileges", 403, "AUTH_INSUFFICIENT_PRIVILEGE")
        : failure("insufficient privileges");
    }
    return act();
  }

  function asUser(call: Call, act: (id: number) => Reply): Reply {
    const who = caller(call);
    return "user" in who ? act(who.user.id) : who;
  }

  function logIn(call: Call): Reply {
    if (!passes()) return tooManyCritical();
    if (settings.turnstile) return failure("Turnstile token 为空");
    if (!settings.passwordLogin) return failure("Password login has been disabled by administrator");
    if (settings.encryptedLogin) return failure("Password encryption is required");
    const body = login.safeParse(jsonBody(call)).data;
    const user = [...memory.users.values()].find(
      (each) => each.username === body?.username && each.password === body.password && each.deletedAt === null,
    );
    if (user === undefined || user.status === 2) {
      return failure("Username or password is incorrect, or user has been banned");
    }
    if (settings.twoFactor.includes(user.username)) return success({ require_2fa: true });
    if (newest()) {
      const open = [...memory.sessions.values()].filter(({ userID }) => userID === user.id).length;
      if (open >= settings.sessions) return failure("Conflict", 409, "AUTH_SESSION_LIMIT");
      if (memory.begun(user.id) >= settings.sessionsPerDay) {
        return failure("Too Many Requests", 429, "AUTH_SESSION_ISSUANCE_LIMIT");
      }
    }
    const { credential, sid } = memory.addSession(user.id);
    const { id, username, display_name, role, status, group } = shown(user);
    const who = { id, username, display_name, role, status, group };
    if (!newest()) return success(who, { "set-cookie": `session=${credential}; Path=/; Max-Age=2592000; HttpOnly` });
    return success(
      {
        access_token: credential,
        token_type: "Bearer",
        access_expires_at: Date.now() + 900_000,
        session: { sid },
        user: who,
      },
      { "set-cookie": `refresh=${credential}; Path=/api/user/auth; HttpOnly` },
    );
  }

  /** One for each user: the one before ends. */
  function newAccessToken(own: number): Reply {
    if (newest() && !passes()) return tooManyCritical();
    if (settings.stepUp) return failure("Security proof required", 403, "AUTH_PROOF_REQUIRED");
    const user = memory.users.get(own);
    if (user === undefined) return failure("record not found");
    user.accessToken = randomUUID().replaceAll("-", "");
    return success(user.accessToken);
  }

  function logOut(call: Call): Reply {
    if (!passes()) return tooManyCritical();
    if (settings.secureCookies && call.headers["origin"] === undefined) {
      return failure("Forbidden", 403, "AUTH_ORIGIN_FORBIDDEN");
    }
    return memory.sessions.delete(call.bearer ?? "") ? success() : failure("not logged in", 401, "AUTH_UNAUTHORIZED");
  }

  /** One of the caller's own, by what is public of it. */
  function endSession(call: Call, sid: string): Reply {
    return asUser(call, (own) => {
      const found = [...memory.sessions].find(([, session]) => session.sid === sid && session.userID === own);
      if (found === undefined) return failure("session not found", 404, "AUTH_SESSION_NOT_FOUND");
      memory.sessions.delete(found[0]);
      return success({ revoked_sid: sid });
    });
  }

  function api(call: Call): Reply {
    if (!all.pass(settings.globalLimit, GLOBAL_WINDOW_MS)) return tooMany(GLOBAL_WINDOW_MS);
    if (lockedOut.has(call)) return failure("database is locked (5) (SQLITE_BUSY)");
    const sid = /^\/api\/user\/sessions\/([^/]+)$/.exec(call.path)?.[1];
    if (sid !== undefined && call.method === "DELETE") return newest() ? endSession(call, sid) : notThere();
    const id = Number(/\/(\d+)(?:\/|$)/.exec(call.path)?.[1] ?? 0);
    switch (`${call.method} ${call.path.replace(/\/\d+(?=\/|$)/, "/:id")}`) {
      case "GET /api/status":
        return success({
          version: VERSIONS[settings.generation],
          setup: true,
          turnstile_check: settings.turnstile,
          password_login_enabled: settings.passwordLogin,
          password_login_encryption_enabled: settings.encryptedLogin,
          register_enabled: false,
          oidc_enabled: false,
          quota_per_unit: 500_000,
        });
      case "GET /api/setup":
        return success({ status: true, root_init: true, database_type: settings.database });
      case "POST /api/setup":
        return failure("系统已经初始化完成");
      case "POST /api/user/login":
        return logIn(call);
      case "POST /api/user/auth/logout":
        return newest() ? logOut(call) : notThere();
      case "POST /api/user/":
        return asAdmin(call, () => users.create(call));
      case "PUT /api/user/":
        return asAdmin(call, () => users.update(call));
      case "GET /api/user/":
        return asAdmin(call, () => users.list(call));
      case "GET /api/user/search":
        return asAdmin(call, () => users.search(call));
      case "POST /api/user/manage":
        return asAdmin(call, () => users.manage(call));
      case "GET /api/user/:id":
        return asAdmin(call, () => users.one(id));
      case "DELETE /api/user/:id":
        return asAdmin(call, () => users.remove(id));
      case "GET /api/user/token":
        return asUser(call, newAccessToken);
      case "GET /api/group/":
        return asAdmin(call, () => success(settings.groups));
      case "GET /api/token/":
        return asUser(call, (own) => tokens.list(call, own));
      case "POST /api/token/":
        return asUser(call, (own) => tokens.create(call, own));
      case "PUT /api/token/":
        return asUser(call, (own) => tokens.setStatus(call, own));
      case "GET /api/token/:id":
        return asUser(call, (own) => tokens.one(id, own));
      case "POST /api/token/:id/key":
        if (settings.generation === "2026-02") return notThere();
        return passes() ? asUser(call, (own) => tokens.reveal(id, own)) : tooManyCritical();
      case "DELETE /api/token/:id":
        return asUser(call, (own) => tokens.remove(id, own));
      default:
        return notThere();
    }
  }

  const notThere = (): Reply => openAIError(404, "Invalid URL", { "cache-control": "max-age=604800" });
  const tokenOf = (call: Call) => {
    const key = call.bearer?.replace(/^sk-/, "");
    return [...memory.tokens.values()].find((token) => token.key === key);
  };

  /** Undefined: the key was never one of ours. */
  function models(call: Call): Reply | undefined {
    const token = tokenOf(call);
    if (token === undefined) return undefined;
    if (token.status !== 1) return openAIError(401, "Invalid token");
    const owner = memory.users.get(token.userID);
    if (owner === undefined || owner.deletedAt !== null) return openAIError(500, "Database error");
    if (owner.status === 2) return openAIError(403, "User has been banned");
    return json(200, { object: "list", data: [], success: true });
  }

  function personOf(call: Call): User | undefined {
    if (call.path.startsWith("/v1/")) return memory.users.get(tokenOf(call)?.userID ?? 0);
    const byPath = /^\/api\/user\/(\d+)/.exec(call.path)?.[1];
    const body = z.object({ id: z.int().optional(), username: z.string().optional() }).safeParse(jsonBody(call)).data;
    const id = Number(byPath ?? body?.id ?? (call.path.startsWith("/api/token/") ? call.headers["new-api-user"] : 0));
    return memory.users.get(id) ?? [...memory.users.values()].find(({ username }) => username === body?.username);
  }

  return {
    memory,
    settings: () => settings,
    change: (part) => {
      settings = { ...settings, ...part };
    },
    clear() {
      settings = freshSettings(generation, limits);
      memory.clear();
      critical.clear();
      all.clear();
    },
    state: () =>
      [...memory.users.values()]
        .filter(({ role }) => role < 10)
        .map((user) => {
          const own = [...memory.tokens.values()].filter(({ userID, status }) => userID === user.id && status === 1);
          return {
            ...shown(user),
            tokens: own.map(({ name }) => name),
            keySHA256: own.map(({ key }) => sha256(`sk-${key}`)),
            sessions: [...memory.sessions.values()].filter(({ userID }) => userID === user.id).length,
          };
        }),
    externalIDOf: (call) => MARK.exec(personOf(call)?.remark ?? "")?.[0],
    async enter(call) {
      if (!WRITES.test(`${call.method} ${call.path}`)) return () => undefined;
      if (writer !== undefined && settings.contention && settings.database === "sqlite") {
        lockedOut.add(call);
        return () => undefined;
      }
      writer = call;
      await wait(WRITE_MS);
      return () => {
        if (writer === call) writer = undefined;
      };
    },
    compresses: true,
    answer(call) {
      if (call.path.startsWith("/v1/")) return models(call);
      if (!call.path.startsWith("/api/") || call.path.startsWith("/api/v1/")) return undefined;
      const reply = api(call);
      const shownHeaders = { "x-new-api-version": VERSIONS[settings.generation], "x-oneapi-request-id": randomUUID() };
      return { ...reply, headers: { ...shownHeaders, ...reply.headers } };
    },
  };
}
