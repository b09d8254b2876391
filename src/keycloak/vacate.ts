/** An address that somebody wrote into an account, and that another one needs. */
import { ConflictError } from "../lib/errors.ts";
import { NOT_FOUND } from "./classify.ts";
import { userFields } from "./profileFields.ts";
import { emptyAnswer, type User } from "./representations.ts";
import type { Ask } from "./session.ts";

interface Address {
  readonly username: string;
  readonly email: string;
  readonly emailVerified: boolean;
}

/** Writes the address; where that one is taken, an unverified one that the account has goes all the same. */
export async function putAddress(ask: Ask, user: User, address: Address): Promise<void> {
  try {
    await write(ask, user, address);
  } catch (error) {
    if (!(error instanceof ConflictError) || error.code === NOT_FOUND) throw error;
    if (!(await vacate(ask, user))) throw error;
  }
}

/** Takes an unverified address off an account, so that nobody waits for it. False: it has none. */
export async function vacate(ask: Ask, user: User): Promise<boolean> {
  if (user.emailVerified === true || (user.email ?? "") === "") return false;
  await write(ask, user, { username: user.username, email: "", emailVerified: false });
  return true;
}

async function write(ask: Ask, user: User, address: Address): Promise<void> {
  const { id, attributes } = user;
  // Without `enabled`: to say that somebody is enabled lifts a lockout by Keycloak.
  await ask("putting an address back", emptyAnswer, (client) =>
    client.users.update({ id }, { ...address, ...userFields((field) => user[field]), attributes }),
  );
}
