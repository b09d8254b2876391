/** The name under which a person is made in Keycloak. Pure. */
import type { DesiredUser } from "./realm.ts";

/** What an address may hold and a user name may not, by Keycloak's own rule (its validator username-prohibited-characters). */
const PROHIBITED = /[!#$%&'*/=?^`{|}~]/;

/**
 * The address, as people expect it; where Keycloak takes that for no user name, the person's uuid: it is theirs for ever,
 * and they log in with the address all the same.
 */
export function usernameOf({ email, uuid }: Pick<DesiredUser, "email" | "uuid">): string {
  return PROHIBITED.test(email) ? uuid : email;
}
