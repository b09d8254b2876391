/** One operation's way to ask Keycloak: token, deadline, header, and errors in our terms. */
import type KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import { NetworkError } from "@keycloak/keycloak-admin-client";
import type * as z from "zod";
import type { Clock } from "../lib/clock.ts";
import { withDeadline } from "../lib/deadline.ts";
import { isSagaError } from "../lib/errors.ts";
import { CALL_DEADLINE_MS } from "../lib/http.ts";
import { classify, NOT_FOUND, notItsOwn, TokenRefused } from "./classify.ts";
import type { AdminClients, Server } from "./adminClients.ts";
import type { Token, Tokens } from "./token.ts";

/**
 * One call, which `send` waits for. `doing` names it in errors, `answer` is the shape it must have. Throws only SagaErrors.
 * A 401 is answered by one fresh token and one more try (a 401 did nothing), then it passes by itself: the login was accepted.
 */
export type Ask = <T>(
  doing: string,
  answer: z.ZodType<T>,
  send: (client: KeycloakAdminClient) => Promise<unknown>,
) => Promise<T>;

/** Opens an operation; every call of it carries `idempotencyKey` as X-Idempotency-Key and is cut by `signal`. */
export type Session = (signal: AbortSignal, idempotencyKey?: string) => Ask;

export interface SessionDeps {
  readonly server: Server;
  readonly clients: AdminClients;
  readonly tokens: Tokens;
  readonly clock: Clock;
  /** A call failed in a way that passes by itself: what was known of Keycloak may be so no longer. */
  readonly away: () => void;
  /** Something that is asked for by its id is not there: what was known of the realm may be so no longer. */
  readonly gone: () => void;
}

export function makeSession(deps: SessionDeps): Session {
  return (signal, idempotencyKey) => {
    const headers: Record<string, string> = idempotencyKey === undefined ? {} : { "X-Idempotency-Key": idempotencyKey };

    return async (doing, answer, send) => {
      let token: Token | undefined;
      const sendOnce = async (): Promise<unknown> => {
        // Kept by `tokens`; asked for at each call, since an operation may outlive its first token.
        const current = await deps.tokens.current(signal);
        token = current;
        return withDeadline(signal, CALL_DEADLINE_MS, (cut) =>
          deps.clients.lend(deps.server, current.value, { signal: cut, headers }, send),
        );
      };

      const failed = (error: unknown): Error => {
        const failure = classify(error, doing, deps.clock.now());
        if (isSagaError(failure) && failure.class === "transient") deps.away();
        if (isSagaError(failure) && failure.code === NOT_FOUND) deps.gone();
        return failure;
      };

      let body: unknown;
      try {
        body = await sendOnce();
      } catch (error) {
        if (!isUnauthorized(error) || token === undefined) throw failed(error);
        await deps.tokens.after(token, signal);
        try {
          body = await sendOnce();
        } catch (again) {
          throw isUnauthorized(again) ? new TokenRefused(doing) : failed(again);
        }
      }
      const parsed = answer.safeParse(body);
      if (!parsed.success) throw notItsOwn(doing, body);
      return parsed.data;
    };
  };
}

/** `undefined` where Keycloak itself says that the thing is not there. */
export async function orMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isSagaError(error) && error.code === NOT_FOUND) return undefined;
    throw error;
  }
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof NetworkError && error.response.status === 401;
}
