/** What the realm's user profile does to attributes. Pure. */
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { ADOPTED_MARK } from "./marks.ts";
import type { Profile, RealmSettings } from "./representations.ts";
import { shell } from "../lib/shell.ts";

/**
 * - `kept`: what an administrator writes stays, and people cannot write it themselves.
 * - `forgeable`: it stays, but people can write it themselves through the account API.
 * - `dropped`: Keycloak answers a create with 201 and silently leaves it out.
 */
export type AttributePolicy = "kept" | "forgeable" | "dropped";

export function attributePolicyOf(profile: Profile, attribute: string): AttributePolicy {
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

/** Whether the user name can follow the email; where the email is the user name, it does so by itself. */
export function renames({ editUsernameAllowed, registrationEmailAsUsername }: RealmSettings): boolean {
  return editUsernameAllowed === true || registrationEmailAsUsername === true;
}

/** The worse attributePolicy of the two marks. */
export function policyOfMarks(profile: Profile): AttributePolicy {
  const attributePolicies = [attributePolicyOf(profile, MARK_TENANT_ID), attributePolicyOf(profile, MARK_USER_UUID)];
  if (attributePolicies.includes("dropped")) return "dropped";
  return attributePolicies.includes("forgeable") ? "forgeable" : "kept";
}

/** Whether `sme_adopted` on a user can only have come from us. */
export function adoptedMarkHolds(profile: Profile): boolean {
  return attributePolicyOf(profile, ADOPTED_MARK) === "kept";
}

/**
 * What people must have to log in, beside what we give everybody. A field that is required only where a client asks for a
 * certain scope is left out.
 */
export function requiredOfPeople(profile: Profile): string[] {
  return (profile.attributes ?? []).flatMap(({ name, required }) => {
    if (required === undefined || required === null || name === "username" || name === "email") return [];
    const { roles, scopes } = required;
    const byRole = roles === undefined || roles === null || roles.length === 0 || roles.includes("user");
    return byRole && (scopes?.length ?? 0) === 0 ? [name] : [];
  });
}

/** The sentence for the Tenant, with the setting that fixes it; undefined when the marks are safe. */
export function marksProblem(
  profile: Profile,
  realm: string,
): { readonly reason: "AttributesDropped" | "MarksForgeable"; readonly message: string } | undefined {
  const attributePolicy = policyOfMarks(profile);
  if (attributePolicy === "kept") return undefined;
  const fix = `${fixOf(profile, realm, [MARK_TENANT_ID, MARK_USER_UUID])}.`;
  return attributePolicy === "dropped"
    ? {
        reason: "AttributesDropped",
        message: `The user profile of realm ${realm} drops the attributes ${MARK_TENANT_ID} and ${MARK_USER_UUID}, by which users are recognised; ${fix}`,
      }
    : {
        reason: "MarksForgeable",
        message: `In realm ${realm} people can write the attributes ${MARK_TENANT_ID} and ${MARK_USER_UUID} on themselves; ${fix}`,
      };
}

/** How to let administrators alone write these. A policy is for what is not declared: a declaration goes before it. */
export function fixOf(profile: Profile, realm: string, names: readonly string[]): string {
  const wrong = names.filter((name) => attributePolicyOf(profile, name) !== "kept");
  const declared = wrong.filter((each) => profile.attributes?.some(({ name }) => name === each));
  const fixes: string[] = [];
  if (declared.length < wrong.length) {
    fixes.push(
      `under Realm settings > General set "Unmanaged attributes" to "Only administrators can write" ` +
        `(${shell`kcadm.sh update users/profile -r ${realm} -s unmanagedAttributePolicy=ADMIN_EDIT`})`,
    );
  }
  if (declared.length > 0) {
    fixes.push(
      `under Realm settings > User profile let only admin edit ${declared.join(" and ")} ("Who can edit?": Admin, not User)`,
    );
  }
  return fixes.join(", and ");
}
