import { z } from "zod";

/** How this gateway is set up, and which of its traps are open. Changed over `POST /_/newapi`, part by part. */
export const settings = z.strictObject({
  /** `cookie`: sessions in a cookie, as in 2025 and early 2026. `bearer`: the login of mid-2026, with a logout. */
  generation: z.enum(["cookie", "bearer"]),
  database: z.enum(["sqlite", "postgres"]),
  /** Logins, reveals (with `bearer` also logouts) in the window; 0: no limit. As shipped: 20. */
  criticalLimit: z.int().nonnegative(),
  criticalWindowMs: z.int().positive(),
  /** How far the limits' clock is ahead: a test need not wait for 20 minutes. */
  skewMs: z.int(),
  /** All calls of `/api` in 180 s; 0: no limit. As shipped: 360. */
  globalLimit: z.int().nonnegative(),
  /** So many creates fail because the random code of a new user is taken. */
  codeCollisions: z.int().nonnegative(),
  /** So many changes fail because the database is locked. */
  locked: z.int().nonnegative(),
  turnstile: z.boolean(),
  passwordLogin: z.boolean(),
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

export function freshSettings(generation: Settings["generation"], limits: boolean): Settings {
  return {
    generation,
    database: "sqlite",
    criticalLimit: limits ? 20 : 0,
    criticalWindowMs: 20 * 60_000,
    skewMs: 0,
    globalLimit: limits ? 360 : 0,
    codeCollisions: 0,
    locked: 0,
    turnstile: false,
    passwordLogin: true,
    encryptedLogin: false,
    maxTokens: 1000,
    twoFactor: [],
    groups: ["default", "vip", "svip"],
    quotaForNewUser: 0,
  };
}
