import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import type { Clock } from "../../../lib/clock.ts";
import { TerminalError } from "../../../lib/errors.ts";
import type { HttpAnswer } from "../../../lib/http.ts";
import type { Sensitive } from "../../../lib/sensitive.ts";
import { notItsOwn, parseAnswer } from "../../classify.ts";
import { SENDABLE } from "../../models.ts";
import { type GatewayApi, type Request, tooManySessions } from "./api.ts";
import { readEnvelope, refusal, repeatedWhileLocked, type Said } from "./envelope.ts";
import type { Permit } from "./limits.ts";
import type { User } from "./users.ts";
import { terminal } from "../../failures.ts";

/** Calls in the name of a person: nobody else, the root included, can make, list or read that person's keys. */
export interface Session {
  /** `critical`: the gateway counts it. */
  call(request: Request, doing: string, signal: AbortSignal, critical?: "critical"): Promise<Said>;
  /**
   * Makes a new access token of the person's own, which ends the one before; nobody keeps it. Nothing, where the gateway
   * does not let a session like this do it.
   */
  renewAccessToken(signal: AbortSignal): Promise<void>;
  /** Ends it where the gateway keeps sessions; never fails. */
  end(signal: AbortSignal): Promise<void>;
}

const loggedIn = z.object({
  id: z.int().optional(),
  user: z.object({ id: z.int() }).optional(),
  access_token: z.string().min(1).max(10_000).regex(SENDABLE).optional(),
  session: z
    .object({ sid: z.string().regex(/^[\w-]{1,128}$/) })
    .optional()
    .catch(undefined),
  require_2fa: z.boolean().optional(),
  require_verification: z.boolean().optional(),
});

const WRONG_PASSWORD = /username or password|用户名或密码/i;

interface Blocker {
  readonly says: RegExp;
  readonly sentence: string;
}

/** What keeps everybody from logging in with a password until the gateway's admin changes a setting. */
const BLOCKERS: readonly Blocker[] = [
  {
    says: /turnstile/i,
    sentence: "The gateway asks for a captcha at each login; its admin must switch Turnstile off (system settings).",
  },
  {
    says: /password login|密码登录/i,
    sentence:
      "The gateway has password login switched off; its admin must switch PasswordLoginEnabled on (system settings).",
  },
  {
    says: /encrypt/i,
    sentence: "The gateway wants passwords encrypted at login; its admin must switch password-login encryption off.",
  },
];

/**
 * Logs in with a password. Undefined: the gateway refuses the password (or the account is disabled, which it does not
 * tell apart). Terminal where a person must first change a setting.
 */
export async function logIn(
  deps: { readonly api: GatewayApi; readonly clock: Clock },
  user: User,
  password: Sensitive,
  permit: Permit,
  signal: AbortSignal,
): Promise<Session | undefined> {
  const { api, clock } = deps;
  const doing = `the login as ${user.username}`;
  const secrets = [password.reveal()];
  const body = { username: user.username, password: password.reveal() };
  const request = { method: "POST", path: "/api/user/login", body } as const;
  const answer = await api.as({}, request, doing, signal, { permit, secrets });
  const said = readEnvelope(answer, doing, clock.now(), secrets);
  if (said.kind === "refused") {
    const blocker = BLOCKERS.find(({ says }) => says.test(said.message));
    if (blocker !== undefined) throw blocked(blocker.sentence);
    if (said.code.startsWith("AUTH_SESSION")) throw tooManySessions(doing);
    if (WRONG_PASSWORD.test(said.message) || said.status === 401 || said.status === 403) return undefined;
    throw refusal(said, doing);
  }
  const data = loggedIn.safeParse(said.data).data;
  if (data?.require_2fa === true || data?.require_verification === true) {
    throw blocked(
      `The gateway's account ${user.username} has two-factor login switched on; its admin must switch it off for this account (DELETE /api/user/${user.id}/2fa).`,
    );
  }
  // Whoever else was let in, it is not this person.
  if (data === undefined || (data.user?.id ?? data.id) !== user.id) throw notItsOwn(answer, doing);
  const bearer = data.access_token;
  const credentials = bearer === undefined ? cookieOf(answer, doing) : { authorization: `Bearer ${bearer}` };
  const headers = { ...credentials, "new-api-user": String(user.id) };
  const known = Object.values(credentials);

  return {
    async call(wanted, what, cut, critical) {
      const options = critical === undefined ? { secrets: known } : { secrets: known, permit };
      const act = async () => readEnvelope(await api.as(headers, wanted, what, cut, options), what, clock.now(), known);
      return critical === undefined ? repeatedWhileLocked(act, cut) : act();
    },
    async renewAccessToken(cut) {
      const what = "the renewal of a user's access token";
      const renewal = { method: "GET", path: "/api/user/token" } as const;
      // Only gateways with bearer sessions count it.
      const options = bearer === undefined ? { secrets: known } : { secrets: known, permit };
      const answered = await api.as(headers, renewal, what, cut, options);
      const isRefused = answered.status >= 400 && answered.status < 500;
      if (!isRefused) readEnvelope(answered, what, clock.now(), known);
    },
    async end(cut) {
      if (bearer === undefined) return;
      // Not counted, and let through where a logout without a browser's Origin is not.
      const sid = data.session?.sid;
      const own = { method: "DELETE", path: `/api/user/sessions/${sid}` } as const;
      const ended = sid !== undefined && (await isDone(api.as(headers, own, "the logout", cut, { secrets: known })));
      if (ended) return;
      const leave = { method: "POST", path: "/api/user/auth/logout" } as const;
      // One that stays open ends by itself; only very many at once would be in the way.
      await isDone(api.as(headers, leave, "the logout", cut, { permit, secrets: known }));
    },
  };
}

async function isDone(answering: Promise<HttpAnswer>): Promise<boolean> {
  try {
    return parseAnswer(z.object({ success: z.literal(true) }), await answering) !== undefined;
  } catch {
    return false;
  }
}

function cookieOf(answer: HttpAnswer, doing: string): { cookie: string } {
  const cookie = answer.headers
    .getSetCookie()
    .map((line) => line.split(";")[0] ?? "")
    .find((pair) => pair.startsWith("session="));
  if (cookie === undefined) throw notItsOwn(answer, doing);
  return { cookie };
}

function blocked(message: string): TerminalError {
  return terminal(REASON.LoginBlocked, message);
}

const settings = z.object({
  success: z.literal(true),
  data: z.looseObject({
    version: z.string().optional(),
    setup: z.boolean().optional(),
    turnstile_check: z.boolean().optional(),
    password_login_enabled: z.boolean().optional(),
    password_login_encryption_enabled: z.boolean().optional(),
  }),
});

/** What the gateway tells everybody of its settings, as sentences for its admin. Undefined: it is no such gateway. */
export function obstacles(answer: HttpAnswer): string[] | undefined {
  const data = parseAnswer(settings, answer)?.data;
  if (data === undefined) return undefined;
  const [captcha, password, encryption] = BLOCKERS.map(({ sentence }) => sentence);
  const found: (string | undefined)[] = [
    data.setup === false ? "The gateway is not set up yet; open its page and make the root account." : undefined,
    data.turnstile_check === true ? captcha : undefined,
    data.password_login_enabled === false ? password : undefined,
    data.password_login_encryption_enabled === true ? encryption : undefined,
  ];
  return found.filter((sentence) => sentence !== undefined);
}
