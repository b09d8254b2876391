/** What the realm's user profile does to attributes. Pure. */
import { ADOPTED_MARK, TENANT_MARK, UUID_MARK } from "./marks.ts";
import type { Profile } from "./representations.ts";

/**
 * - `kept`: what an administrator writes stays, and people cannot write it themselves.
 * - `forgeable`: it stays, but people can write it themselves through the account API.
 * - `dropped`: Keycloak answers a create with 201 and silently leaves it out.
 */
export type Fate = "kept" | "forgeable" | "dropped";

export function fateOf(profile: Profile, attribute: string): Fate {
  const declared = profile.attributes?.find(({ name }) => name === attribute);
  if (declared !== undefined) {
    const editors = declared.permissions?.edit ?? [];
    if (editors.includes("user")) return "forgeable";
    return editors.includes("admin") ? "kept" : "dropped";
  }
  const policy = profile.unmanagedAttributePolicy;
  if (policy === "ADMIN_EDIT") return "kept";
  return policy === "ENABLED" ? "forgeable" : "dropped";
}

/** The worse fate of the two marks. */
export function fateOfMarks(profile: Profile): Fate {
  const fates = [fateOf(profile, TENANT_MARK), fateOf(profile, UUID_MARK)];
  if (fates.includes("dropped")) return "dropped";
  return fates.includes("forgeable") ? "forgeable" : "kept";
}

/** Whether `sme_adopted` on a user can only have come from us. */
export function adoptedMarkHolds(profile: Profile): boolean {
  return fateOf(profile, ADOPTED_MARK) === "kept";
}

/** The sentence for the Tenant, with the setting that mends it; undefined when the marks are safe. */
export function marksProblem(
  profile: Profile,
  realm: string,
): { readonly reason: "AttributesDropped" | "MarksForgeable"; readonly message: string } | undefined {
  const mend =
    `under Realm settings > General set "Unmanaged attributes" to "Only administrators can write" ` +
    `(kcadm.sh update users/profile -r ${realm} -s unmanagedAttributePolicy=ADMIN_EDIT), ` +
    `or declare both in the user profile with edit permission for admin only.`;
  const fate = fateOfMarks(profile);
  if (fate === "kept") return undefined;
  return fate === "dropped"
    ? {
        reason: "AttributesDropped",
        message: `The user profile of realm ${realm} drops the attributes ${TENANT_MARK} and ${UUID_MARK}, by which users are recognised; ${mend}`,
      }
    : {
        reason: "MarksForgeable",
        message: `In realm ${realm} people can write the attributes ${TENANT_MARK} and ${UUID_MARK} on themselves; ${mend}`,
      };
}
