import * as z from "zod";

/**
 * What a release of that month was seen to do. `2026-02`: `PUT` of a user sets its quota, there is no action for it, the
 * list of tokens shows whole keys, a deletion answers nothing. `2026-07`: keys are masked and revealed, the quota has an
 * action, sessions are cookies. `2026-08`: logins give a bearer token, of a session that can be ended.
 */
export const GENERATIONS = ["2026-02", "2026-07", "2026-08"] as const;
export type Generation = (typeof GENERATIONS)[number];

/** How this gateway is set up, and which of its traps are open. Changed over `POST /_/newapi`, part by part. */
export const settings = z.strictObject({
  generation: z.enum(GENERATIONS),
  database: z.enum(["sqlite", "postgres"]),
  /** Logins, reveals (in `2026-08` also logouts and new access tokens) in the window; 0: no limit. As shipped: 20. */
  criticalLimit: z.int().nonnegative(),
  criticalWindowMs: z.int().positive(),
  /** How far the limits' clock is ahead: a test need not wait for 20 minutes. */
  skewMs: z.int(),
  /** All calls of `/api` in 180 s; 0: no limit. As shipped: 360, in `2026-02` 180. */
  globalLimit: z.int().nonnegative(),
  /** So many creates fail because the random code of a new user is taken. */
  codeCollisions: z.int().nonnegative(),
  /** So many changes fail because the database is locked. */
  locked: z.int().nonnegative(),
  /** With SQLite, of two that write to accounts at the same time one is refused, as there. */
  contention: z.boolean(),
  /** `2026-08` behind HTTPS: a logout without a browser's Origin is refused. */
  secureCookies: z.boolean(),
  /** `2026-08`: the most sessions of one user, and the most that begin within a day. */
  sessions: z.int().positive(),
  sessionsPerDay: z.int().positive(),
  turnstile: z.boolean(),
  passwordLogin: z.boolean(),
  /** Newest releases let nobody make an access token without one more proof. */
  stepUp: z.boolean(),
  /** Newest releases can demand that a password comes encrypted. */
  encryptedLogin: z.boolean(),
  /** The most tokens that one user may have. */
  maxTokens: z.int().positive(),
  /** Names of users with two-factor login. */
  twoFactor: z.array(z.string()),
  groups: z.array(z.string()),
  /** What a new user may spend. */
  quotaForNewUser: z.int(),
});
export type Settings = z.infer<typeof settings>;

export const settingsOrder = settings.partial();

export function freshSettings(generation: Generation, limits: boolean): Settings {
  return {
    generation,
    database: "sqlite",
    criticalLimit: limits ? 20 : 0,
    criticalWindowMs: 20 * 60_000,
    skewMs: 0,
    globalLimit: limits ? (generation === "2026-02" ? 180 : 360) : 0,
    codeCollisions: 0,
    locked: 0,
    contention: true,
    secureCookies: true,
    sessions: 50,
    sessionsPerDay: 100,
    turnstile: false,
    passwordLogin: true,
    stepUp: false,
    encryptedLogin: false,
    maxTokens: 1000,
    twoFactor: [],
    groups: ["default", "vip", "svip"],
    quotaForNewUser: 0,
  };
}
