/** The marks: attributes that say whose a Keycloak user is. Ours means both of the first two, always. */
import type { User } from "./representations.ts";

export const TENANT_MARK = "sme_tenant_id";
export const UUID_MARK = "sme_user_uuid";
/**
 * Set to "true" on an account that was there before us. It stands upstream because the row may be lost (a restored
 * database, a cut between the write and its record), and an adopted account must never be deleted or disabled.
 */
export const ADOPTED_MARK = "sme_adopted";

export interface Marks {
  readonly tenantID: string | undefined;
  readonly uuid: string | undefined;
}

/** A mark with several values is nobody's: it reads as a value that no saga has. */
export function marksOf(user: User): Marks {
  return { tenantID: single(user.attributes?.[TENANT_MARK]), uuid: single(user.attributes?.[UUID_MARK]) };
}

/** Both marks, compared exactly: a search by attribute is only a hint. */
export function isOurs(user: User, tenantID: string, uuid: string): boolean {
  const marks = marksOf(user);
  return marks.tenantID === tenantID && marks.uuid === uuid;
}

export function carriesAdoptedMark(user: User): boolean {
  return single(user.attributes?.[ADOPTED_MARK]) === "true";
}

function single(values: readonly string[] | undefined): string | undefined {
  if (values === undefined || values.length === 0) return undefined;
  return values.length === 1 ? values[0] : values.join(",");
}
