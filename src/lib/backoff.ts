/** When what failed is tried again: each policy is one entry of RETRIES, and each pause is computed here. */
import type { Random } from "./clock.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

export interface RetryPolicy {
  /** The pause after the first failure. It doubles with each further one, up to the longest. */
  readonly firstMs: number;
  readonly longestMs: number;
  /** A pause is a random one between these multiples of it. */
  readonly spread: readonly [least: number, most: number];
  /** What is tried again, for docs/configuration.md. */
  readonly what: string;
}

/** Those that failed together do not come back together, and nobody comes early. */
const LATER = [1, 1.25] as const;
const EARLIER = [0.5, 1] as const;
const EXACTLY = [1, 1] as const;

const growing = (firstMs: number, longestMs: number, spread: RetryPolicy["spread"], what: string): RetryPolicy => ({
  firstMs,
  longestMs,
  spread,
  what,
});
const constant = (ms: number, what: string): RetryPolicy => growing(ms, ms, EXACTLY, what);

/** Every pause after a failure. docs/configuration.md lists them; a test compares. */
export const RETRIES = {
  step: growing(SECOND_MS, 5 * MINUTE_MS, LATER, "A step of a user, at Keycloak, the gateway or the API server"),
  claim: constant(3 * SECOND_MS, "A claim that Postgres failed under"),
  job: growing(500, 30 * SECOND_MS, LATER, "Recording what a watch reported"),
  watch: growing(200, 30 * SECOND_MS, EARLIER, "A watch on the API server"),
  reconnect: constant(SECOND_MS, "One watch on behalf of all, while the API server does not answer"),
  probe: constant(SECOND_MS, "One request on behalf of all, while an upstream does not answer"),
  tenantCheck: constant(5 * SECOND_MS, "The check of a Tenant that is not Ready"),
  credential: growing(
    10 * SECOND_MS,
    5 * MINUTE_MS,
    EXACTLY,
    "A credential that the upstream refuses while the Tenant's check passes (from the second refusal on)",
  ),
  secretObstacle: growing(
    3 * SECOND_MS,
    2 * MINUTE_MS,
    LATER,
    "A Secret that the namespace refuses (a quarter of the time that it has been refused)",
  ),
  invitation: growing(30 * SECOND_MS, 60 * MINUTE_MS, EXACTLY, "An invitation that Keycloak could not send"),
  refusedInvitation: growing(
    10 * MINUTE_MS,
    60 * MINUTE_MS,
    EXACTLY,
    "An invitation that Keycloak refuses until somebody corrects the realm",
  ),
  event: growing(2 * SECOND_MS, 5 * MINUTE_MS, EXACTLY, "An event that NATS refuses while it takes others"),
  outbox: constant(2 * SECOND_MS, "All events, while NATS is down"),
  nats: constant(SECOND_MS, "Connecting to NATS"),
  heartbeat: constant(SECOND_MS, "Reading the heartbeat from NATS"),
  tenantDirectory: growing(
    SECOND_MS,
    15 * SECOND_MS,
    EARLIER,
    "The webhook's connection that hears of changed Tenants",
  ),
  admission: constant(
    5 * SECOND_MS,
    "Recording at admission, while Postgres fails (the API server is answered meanwhile)",
  ),
  migration: constant(SECOND_MS, "`migrate`, while Postgres does not answer (60 times)"),
  certificate: constant(5 * SECOND_MS, "Renewing the webhook's certificate"),
  gatewayLocked: growing(80, 640, [0.5, 1.5], "A call to a gateway whose database is locked (4 times, in place)"),
  gatewaySessions: constant(60 * MINUTE_MS, "A login to a gateway that allows the account no more sessions"),
} satisfies Readonly<Record<string, RetryPolicy>>;

/** Transient failures in a row after which a row is `failed`; it is tried again all the same, ever more slowly. */
export const FAILED_AFTER = 5;

/** The pause after the n-th failure in a row (n from 1), in milliseconds. */
export function retryPauseMs(
  { firstMs, longestMs, spread }: Omit<RetryPolicy, "what">,
  failures: number,
  random: Random,
) {
  return between(Math.min(longestMs, firstMs * 2 ** Math.min(20, failures - 1)), spread, random);
}

/** The pause of a step; an upstream's Retry-After is never undercut, up to an hour. */
export function stepPauseMs(failures: number, retryAfterMs: number | undefined, random: Random): number {
  return Math.max(Math.round(retryPauseMs(RETRIES.step, failures, random)), boundedPause(retryAfterMs) ?? 0);
}

/**
 * By how long it has lasted, for what nobody reports the end of: a quarter of that time, so that what lasts for a minute
 * ends within a quarter of one, and what lasts for a day costs next to nothing.
 */
export function proportionalPauseMs(
  { firstMs, longestMs, spread }: RetryPolicy,
  sinceMs: number,
  random: Random,
): number {
  return Math.round(between(Math.min(longestMs, Math.max(firstMs, sinceMs / 4)), spread, random));
}

/** The same where nothing is left to chance. */
export function exactPauseMs({ firstMs, longestMs }: RetryPolicy, failures: number): number {
  return retryPauseMs({ firstMs, longestMs, spread: EXACTLY }, failures, () => 0);
}

function between(ms: number, [least, most]: RetryPolicy["spread"], random: Random): number {
  return ms * (least + random() * (most - least));
}

/**
 * Failures in a row that stand in no row of the database: what failed is ours to write, and not the user's to wait for.
 * A restart, or another replica, begins again with the first pause.
 */
export interface FailureCounts {
  /** The pause after one more failure, in milliseconds. */
  failed(key: string): number;
  succeeded(key: string): void;
}

/** More are forgotten, the oldest first. */
const MOST_KEPT = 20_000;

export function makeFailureCounts(random: Random): FailureCounts {
  const failures = new Map<string, number>();
  return {
    failed(key) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.delete(key);
      failures.set(key, count);
      const [oldest] = failures.keys();
      if (failures.size > MOST_KEPT && oldest !== undefined) failures.delete(oldest);
      return stepPauseMs(count, undefined, random);
    },
    succeeded: (key) => void failures.delete(key),
  };
}

/** What somebody else asks us to wait is believed up to this. */
export const LONGEST_PAUSE_MS = 60 * MINUTE_MS;

const SECONDS = /^[+-]?\d{1,400}(?:\.\d{1,400})?$/;
/** The three forms of HTTP, and the one that everybody else writes: what begins otherwise is no date. */
const DATE = /^(?:[A-Z][a-z]{2,8},? |\d{4}-\d{2}-\d{2}T)[\x20-\x7e]{1,60}$/;

/**
 * The value of `Retry-After` in milliseconds: seconds or a date, an hour at most. What is past is now; undefined when
 * there is none or nobody can read it.
 */
export function parseRetryAfter(value: string | null | undefined, now: number): number | undefined {
  const text = value?.trim() ?? "";
  if (SECONDS.test(text)) return boundedPause(Number(text) * 1000);
  return DATE.test(text) ? boundedPause(Date.parse(text) - now) : undefined;
}

/** Between now and an hour; undefined for what is no number. */
export function boundedPause(ms: number | undefined): number | undefined {
  if (ms === undefined || Number.isNaN(ms)) return undefined;
  return Math.min(LONGEST_PAUSE_MS, Math.max(0, ms));
}
