/** The marks: attributes that say whose a Keycloak user is. Ours means both of the first two, always. */
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import type { User } from "./representations.ts";

/**
 * Set to "true" on an account that was there before us. It stands upstream because the row may be lost (a restored
 * database, a cut between the write and its record), and an adopted account must never be deleted or disabled.
 */
export const ADOPTED_MARK = "sme_adopted";

/** Written by Keycloak's brute force protection when it disables somebody for good; gone when somebody enables it again. */
export const LOCKOUT_MARK = "disabledReason";

export interface Marks {
  readonly tenantID: string | undefined;
  readonly uuid: string | undefined;
}

/** A mark with several values is nobody's: it reads as a value that no saga has. */
export function marksOf(user: User): Marks {
  return { tenantID: single(user.attributes?.[MARK_TENANT_ID]), uuid: single(user.attributes?.[MARK_USER_UUID]) };
}

/** Both marks, compared exactly: a search by attribute is only a hint. */
export function isOurs(user: User, tenantID: string, uuid: string): boolean {
  const marks = marksOf(user);
  return marks.tenantID === tenantID && marks.uuid === uuid;
}

export function carriesAdoptedMark(user: User): boolean {
  return single(user.attributes?.[ADOPTED_MARK]) === "true";
}

/** Disabled by Keycloak itself, after too many failed logins: not ours to undo. */
export function isLockedOut({ enabled, attributes }: Pick<User, "enabled" | "attributes">): boolean {
  return enabled === false && (attributes?.[LOCKOUT_MARK] ?? []).length > 0;
}

function single(values: readonly string[] | undefined): string | undefined {
  if (values === undefined || values.length === 0) return undefined;
  return values.length === 1 ? values[0] : values.join(",");
}
