/** An account that passes to another person is known to do so before anything of it changes: a cut forgets nothing. */
import { expect, test } from "vitest";
import { ensureUser } from "../../../src/keycloak/ensure.ts";
import { makeFacts } from "../../../src/keycloak/facts.ts";
import { makeGroups } from "../../../src/keycloak/groups.ts";
import { makeMemory } from "../../../src/keycloak/memo.ts";
import { makeNewUsers } from "../../../src/keycloak/newUsers.ts";
import type { DesiredUser } from "../../../src/keycloak/realm.ts";
import { makeRoles } from "../../../src/keycloak/roles.ts";
import type { Ask } from "../../../src/keycloak/session.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { TransientError } from "../../../src/lib/errors.ts";

const UUID = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const grace: DesiredUser = {
  uuid: UUID,
  tenantID: "acme",
  email: "grace@example.com",
  enabled: true,
  defaultGroups: [],
  managedBefore: { groups: [], realmRoles: [], attributes: [] },
};

/** Ada has the account, by the marks that a version-4 uuid leaves on it; the first write is cut off. */
function makeCut(given: Readonly<Record<string, unknown>> = {}) {
  const did: string[] = [];
  const ada = {
    id: "kc-1",
    username: "ada@example.com",
    email: "ada@example.com",
    emailVerified: true,
    enabled: true,
    attributes: { sme_tenant_id: ["acme"], sme_user_uuid: [UUID], ...given },
  };
  const answers: Record<string, unknown> = {
    "reading the realm's settings": { realm: "acme" },
    "reading the realm's user profile": { unmanagedAttributePolicy: "ADMIN_EDIT" },
    "looking up a user by its marks": [ada],
    "looking up client realm-management": [{ id: "c1", clientId: "realm-management" }],
    "reading a user's effective roles": [],
  };
  const ask: Ask = (doing, answer) => {
    if (doing in answers) return Promise.resolve(answer.parse(answers[doing]));
    did.push(doing);
    return Promise.reject(new TransientError({ code: "UpstreamUnavailable", message: "cut" }));
  };
  const memory = makeMemory(systemClock);
  const facts = makeFacts({ realm: "acme", memory });
  const parts = {
    realm: "acme",
    memory,
    facts,
    groups: makeGroups({ facts, memory }),
    roles: makeRoles({ facts, memory }),
    newUsers: makeNewUsers({ clock: systemClock }),
  };
  const succeeding = (): Promise<void> => {
    did.push("noted");
    return Promise.resolve();
  };
  const ensure = (user: DesiredUser) => ensureUser(parts, ask, user, undefined, { policy: "Never", succeeding });
  return { did, ensure };
}

test("it is noted first, and once", async () => {
  const { did, ensure } = makeCut();
  await expect(ensure(grace)).rejects.toThrow("cut");
  expect(did).toEqual(["noted", "locking a user"]);
  await expect(ensure({ ...grace, reset: true })).rejects.toThrow("cut");
  expect(did).toEqual(["noted", "locking a user", "locking a user"]);
});

test("of one who is the same person nothing is noted", async () => {
  const { did, ensure } = makeCut();
  await expect(ensure({ ...grace, email: "ada@example.com" })).rejects.toThrow("cut");
  expect(did).toEqual(["reading a user's groups"]);
});

test("one that was adopted passes to nobody, though no row knew of it", async () => {
  const { did, ensure } = makeCut({ sme_adopted: ["true"] });
  await expect(ensure({ ...grace, reset: true })).rejects.toMatchObject({ class: "terminal", code: "UserClaimed" });
  expect(did).toEqual([]);
});
