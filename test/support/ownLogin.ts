/** A person who acts with a login of their own: what they can do at Keycloak themselves. */
import { assert } from "vitest";
import * as z from "zod";

import type { Person, TestTenant } from "./tenant.ts";

export interface OwnLogin {
  readonly person: Person;
  /** The account console's own call; `change` makes the body of what the account is. */
  readonly account: (
    method: "POST" | "DELETE",
    path: string,
    change?: (own: Readonly<Record<string, unknown>>) => object,
  ) => Promise<Response>;
}

const PASSWORD = "correct horse battery staple";

const base = ({ realm }: TestTenant): string => `${realm.url}/realms/${realm.realm}`;

/** What a login with the password of `enter` gives, or undefined: it is refused. */
export async function logIn(to: TestTenant, username: string): Promise<string | undefined> {
  const answer = await fetch(`${base(to)}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "password", client_id: "admin-cli", username, password: PASSWORD }),
  });
  return z.object({ access_token: z.string().optional() }).parse(await answer.json()).access_token;
}

/** A person of the tenant who is Ready sets a password, as the mail would have led to, and logs in. */
export async function enter(to: TestTenant, name: string, email = to.email(name)): Promise<OwnLogin> {
  const person = await to.person(name);
  const { users } = to.realm.admin;
  const id = person.keycloakID;
  await users.resetPassword({ id, credential: { type: "password", value: PASSWORD, temporary: false } });
  // What the first login asks for where Git says nothing.
  await users.update({ id }, { firstName: "Own", lastName: "Choice", ...(await users.findOne({ id })) });
  const token = await logIn(to, email);
  assert(token !== undefined, `${name} cannot log in`);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json" };
  return {
    person,
    account: async (method: string, path, change) => {
      const own =
        change === undefined
          ? undefined
          : z.record(z.string(), z.unknown()).parse(await (await fetch(`${base(to)}/account/`, { headers })).json());
      const body = own === undefined ? null : JSON.stringify(change?.(own));
      return fetch(`${base(to)}/account/${path}`, { method, headers, body });
    },
  };
}
