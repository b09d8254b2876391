/**
 * One client_credentials token per tenant realm, shared by all its sagas and renewed before it ends. The library cannot
 * renew such a token by itself (there is no refresh token), so it gets ours by `registerTokenProvider`.
 */
import * as z from "zod";
import type { Clock } from "../lib/clock.ts";
import { withDeadline } from "../lib/deadline.ts";
import { CALL_DEADLINE_MS } from "../lib/http.ts";
import { boundedPause } from "../lib/backoff.ts";
import { Sensitive } from "../lib/sensitive.ts";
import { classify, notItsOwn } from "./classify.ts";
import { adminClient, type Server } from "./adminClients.ts";
import { unavailable } from "./failures.ts";

export interface Token {
  readonly value: Sensitive;
  /** Clock time from which on the token is renewed at its next use. */
  readonly renewAt: number;
}

export interface Tokens {
  /** The shared token; logs in when there is none or it is about to end. */
  current(signal: AbortSignal): Promise<Token>;
  /** A token other than `stale`; logs in only if nobody did since. */
  after(stale: Token, signal: AbortSignal): Promise<Token>;
}

/** Renew this long before the end, or at half of a shorter life. */
const MARGIN_MS = 30_000;
const UNKNOWN_LIFE_MS = 60_000;

interface Login {
  readonly token: Promise<Token>;
  readonly stop: AbortController;
  waiting: number;
}

export function makeTokens(deps: Server & { clientID: string; clientSecret: Sensitive; clock: Clock }): Tokens {
  let held: Token | undefined;
  let login: Login | undefined;

  function begin(): Login {
    const stop = new AbortController();
    const begun: Login = { token: logIn(deps, stop.signal), stop, waiting: 0 };
    const ended = (): void => {
      if (login === begun) login = undefined;
    };
    void begun.token.then((token) => (held = token)).then(ended, ended);
    return begun;
  }

  /** Joins the login under way. It is cut only when nobody waits for it any more. */
  async function join(signal: AbortSignal): Promise<Token> {
    const joined = (login ??= begin());
    joined.waiting += 1;
    try {
      return await orAborted(joined.token, signal);
    } finally {
      joined.waiting -= 1;
      if (joined.waiting === 0) {
        if (login === joined) login = undefined;
        joined.stop.abort();
      }
    }
  }

  return {
    async current(signal) {
      return held !== undefined && deps.clock.now() < held.renewAt ? held : join(signal);
    },
    async after(stale, signal) {
      if (held === stale) held = undefined;
      return this.current(signal);
    },
  };
}

async function logIn(
  deps: Server & { clientID: string; clientSecret: Sensitive; clock: Clock },
  signal: AbortSignal,
): Promise<Token> {
  const doing = `the login of client ${JSON.stringify(deps.clientID)} to realm ${JSON.stringify(deps.realm)}`;
  const accessToken = await withDeadline(signal, CALL_DEADLINE_MS, async (cut) => {
    const client = adminClient(deps, { signal: cut });
    await client.auth({
      grantType: "client_credentials",
      clientId: deps.clientID,
      clientSecret: deps.clientSecret.reveal(),
    });
    return client.accessToken;
  }).catch((error: unknown) => {
    throw classify(error, doing, deps.clock.now());
  });
  if (typeof accessToken !== "string") throw notItsOwn(doing, "");
  const claims = claimsOf(accessToken);
  const lifeMs = lifeOf(claims);
  return {
    value: new Sensitive(accessToken),
    // By its length of life, from its receipt on and by our own clock: the two clocks need not agree.
    renewAt: deps.clock.now() + Math.max(lifeMs - MARGIN_MS, lifeMs / 2),
  };
}

const claimsAnswer = z.object({
  exp: z.number().optional(),
  iat: z.number().optional(),
});

/** An hour at most: a token that says more is renewed all the same. One that says it has none is no login for each call. */
function lifeOf({ exp, iat }: z.infer<typeof claimsAnswer>): number {
  const said = exp === undefined || iat === undefined ? undefined : boundedPause((exp - iat) * 1000);
  return said === undefined || said === 0 ? UNKNOWN_LIFE_MS : said;
}

/** Read for its length of life alone: which roles it gives is for Keycloak to say. Unreadable: nothing is known. */
function claimsOf(token: string): z.infer<typeof claimsAnswer> {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    return claimsAnswer.parse(payload);
  } catch {
    return {};
  }
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(unavailable("The login to keycloak was cut off.", { cause: signal.reason }));
  };
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
