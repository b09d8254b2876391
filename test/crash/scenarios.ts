/** What people do, each cut at every point that it passes. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import * as z from "zod";
import type { GatewayKind, Sandbox, SandboxOptions } from "./sandbox.ts";
import { inTheEnd, isAtRest, isGone, isRemoved, isWhole, toldOnce } from "./invariants.ts";
import type { Person } from "../support/tenant.ts";

export interface Scenario {
  readonly name: string;
  /** At which it can happen. Default: one of each dialect. */
  readonly gateways?: readonly GatewayKind[];
  /** Also in the short form at all of them: each has an effect of its own that hardly another scenario has. */
  readonly everywhere?: boolean;
  readonly wishes?: SandboxOptions;
  /** What must be there before; the cuts come after it. Absent: the reconciler is cut from its very start on. */
  readonly before?: (sandbox: Sandbox) => Promise<Person>;
  readonly act: (sandbox: Sandbox, before: Person) => Promise<void>;
  /** Throws as long as it does not hold. */
  readonly holds: (sandbox: Sandbox, before: Person) => Promise<unknown>;
  /** Throws as soon as something is not so at any moment on the way. */
  readonly always?: (sandbox: Sandbox, before: Person) => Promise<unknown>;
}

const PATIENCE_MS = 120_000;
const ALLOWED: SandboxOptions = {
  patch: { allow: { groups: ["/team-a", "/team-b"], realmRoles: ["role-a", "role-b"] } },
};
const NEW_API: readonly GatewayKind[] = ["new-api", "new-api, bearer"];
const RICH: SandboxOptions = { patch: { allow: { tiers: ["vip"] }, limits: { maxQuota: 10_000 } } };
const FOR_GOOD: SandboxOptions = { patch: { newapi: { deletion: "Delete" } } };
const TEAM_A = { groups: ["/team-a"], realmRoles: ["role-a"], displayName: "Ada" };
const TEAM_B = { groups: ["/team-b"], realmRoles: ["role-b"], displayName: "Ada Lovelace" };

const DURING_OVERLAP = { key: { generation: 1, overlap: "1h" } };

async function loseTheSecret(sandbox: Sandbox): Promise<void> {
  const [secret] = await sandbox.secrets();
  await sandbox.removeSecret(secret?.name ?? "");
}

const made =
  (spec: Parameters<Sandbox["apply"]>[1] = {}) =>
  async (sandbox: Sandbox): Promise<Person> => {
    await sandbox.apply("ada", spec);
    return inTheEnd(() => isWhole(sandbox, "ada", { enabled: spec.enabled ?? true }), PATIENCE_MS);
  };

const NOBODY: Person = { uuid: "", keycloakID: "", accountID: "", secretName: "", apiKey: "" };

async function groupsAndRoles(sandbox: Sandbox, { keycloakID: id }: Person): Promise<string[]> {
  const groups = await sandbox.realm.admin.users.listGroups({ id });
  const roles = await sandbox.realm.admin.users.listRealmRoleMappings({ id });
  const held = roles.map(({ name = "" }) => name).filter((name) => name.startsWith("role-"));
  return [...groups.map(({ path = "" }) => path), ...held].toSorted();
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "create",
    everywhere: true,
    act: (sandbox) => sandbox.apply("ada"),
    holds: (sandbox) => isWhole(sandbox, "ada"),
  },
  {
    name: "invite",
    before: () => Promise.resolve(NOBODY),
    act: (sandbox) => sandbox.apply("ada", { invitation: "Email" }),
    holds: async (sandbox) => {
      await isWhole(sandbox, "ada");
      assert(sandbox.environment.mails(sandbox.email("ada")) <= 1, "there was more than one mail");
    },
  },
  {
    name: "edit",
    wishes: ALLOWED,
    before: made(TEAM_A),
    act: (sandbox) => sandbox.apply("ada", TEAM_B),
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "ada", { same });
      assert.deepEqual(await groupsAndRoles(sandbox, same), ["/sme-users", "/team-b", "role-b"]);
    },
  },
  {
    name: "disable",
    before: made(),
    act: (sandbox) => sandbox.apply("ada", { enabled: false }),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same, enabled: false }),
  },
  {
    name: "enable",
    everywhere: true,
    before: made({ enabled: false }),
    act: (sandbox) => sandbox.apply("ada"),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "rotate",
    everywhere: true,
    before: made(),
    act: (sandbox) => sandbox.apply("ada", { key: { generation: 1 } }),
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "ada", { same, rotated: true });
      assert.equal((await sandbox.user("ada"))?.status?.key?.generation, 1);
      toldOnce(sandbox, same.uuid, "sme.user.key-rotated");
      const rotations = (await sandbox.gateway.journal()).filter(({ path }) => path.endsWith("/keys/rotate"));
      assert(rotations.length <= 2, `the key was rotated ${rotations.length} times`);
    },
  },
  {
    name: "change the email",
    before: made(),
    act: (sandbox) => sandbox.apply("ada", { email: sandbox.email("lovelace") }),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "rename the Secret",
    before: made(),
    act: (sandbox) => sandbox.apply("ada", { secret: { name: "newapi-key-ada" } }),
    holds: async (sandbox, same) => {
      assert.equal((await isWhole(sandbox, "ada", { same })).secretName, "newapi-key-ada");
    },
  },
  {
    name: "lose the Secret",
    before: made(),
    act: loseTheSecret,
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "delete",
    everywhere: true,
    before: made(),
    act: (sandbox) => sandbox.remove("ada"),
    holds: (sandbox, before) => isGone(sandbox, "ada", before),
  },
  {
    name: "hand over",
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await sandbox.apply("augusta", { email: sandbox.email("ada") });
      await inTheEnd(async () => {
        const { rowCount } = await sandbox.db.query("select 1 from waiting");
        assert.equal(rowCount, 1);
      }, PATIENCE_MS);
      return person;
    },
    act: (sandbox) => sandbox.remove("ada"),
    holds: async (sandbox, same) => {
      assert.equal(await sandbox.user("ada"), undefined);
      await isWhole(sandbox, "augusta", { same });
    },
  },
  {
    name: "wait for an email",
    before: made(),
    act: (sandbox) => sandbox.apply("augusta", { email: sandbox.email("ada") }),
    holds: async (sandbox, same) => {
      const augusta = await sandbox.user("augusta");
      assert.equal(augusta?.status?.conditions?.find(({ type }) => type === "Ready")?.reason, "EmailInUse");
      const { rows } = await sandbox.db.query<{ why: string }>("select why from waiting");
      assert.deepEqual(rows, [{ why: "EmailInUse" }]);
      assert.equal((await sandbox.realm.admin.users.find({ max: 100 })).length, 1);
      assert.equal((await sandbox.secrets()).length, 1);
      assert.equal(await sandbox.opens(same.apiKey), 200);
    },
  },
  {
    name: "come back",
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await sandbox.remove("ada");
      await inTheEnd(() => isGone(sandbox, "ada", person), PATIENCE_MS);
      return person;
    },
    act: (sandbox) => sandbox.apply("ada"),
    holds: async (sandbox, before) => {
      const { rows } = await sandbox.db.query<{ state: string }>("select state from user_provision_state");
      assert.deepEqual(rows, [{ state: "done" }]);
      const user = await sandbox.user("ada");
      assert.equal(user?.status?.userUUID, before.uuid);
      const [account, ...others] = await sandbox.accounts();
      assert.deepEqual(
        [account?.accountID, account?.disabled, account?.keySHA256.length, others.length],
        [before.accountID, false, 1, 0],
      );
      assert.equal((await sandbox.realm.admin.users.find({ max: 100 })).length, 1);
      assert.equal(await sandbox.opens(before.apiKey), 401, "the key that was dropped opens again");
      const [secret, ...more] = await sandbox.secrets();
      assert.equal(more.length, 0);
      assert.equal(await sandbox.opens(secret?.data["api-key"] ?? ""), 200);
      const ready = user?.status?.conditions?.find(({ type }) => type === "Ready");
      assert.equal(ready?.status, "True", ready?.message);
      await isAtRest(sandbox, before.uuid, "done");
    },
  },
  {
    name: "lose the database and the pin",
    before: async (sandbox) => {
      const person = await made({ userUUID: randomUUID() })(sandbox);
      await sandbox.kill();
      await sandbox.tearOut("ada");
      await sandbox.db.query("truncate user_provision_state, waiting");
      sandbox.start();
      return person;
    },
    act: (sandbox) => sandbox.apply("ada"),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "delete with grace",
    wishes: { deletionGrace: "24h" },
    before: made(),
    act: (sandbox) => sandbox.remove("ada"),
    holds: async (sandbox, before) => {
      assert.equal(await sandbox.user("ada"), undefined, "the object is still there");
      await isAtRest(sandbox, before.uuid, "deleting");
      const [user, ...others] = await sandbox.realm.admin.users.find({ max: 100 });
      assert.deepEqual([user?.id, user?.enabled, others.length], [before.keycloakID, false, 0]);
      assert.equal((await sandbox.accounts())[0]?.disabled, true);
      assert.equal((await sandbox.secrets()).length, 0);
      assert.notEqual(await sandbox.opens(before.apiKey), 200);
    },
  },
  {
    name: "return within grace",
    wishes: { deletionGrace: "24h" },
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await sandbox.remove("ada");
      await inTheEnd(async () => {
        assert.equal(await sandbox.user("ada"), undefined);
        await isAtRest(sandbox, person.uuid, "deleting");
      }, PATIENCE_MS);
      return person;
    },
    act: (sandbox) => sandbox.apply("ada"),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "pass to another person",
    wishes: { deletionGrace: "24h" },
    before: async (sandbox) => {
      const person = await made({ firstName: "Ada", lastName: "Lovelace" })(sandbox);
      await openToAda(sandbox, person);
      await sandbox.remove("ada");
      await inTheEnd(async () => {
        assert.equal(await sandbox.user("ada"), undefined);
        await isAtRest(sandbox, person.uuid, "deleting");
      }, PATIENCE_MS);
      return person;
    },
    act: (sandbox, { uuid }) => sandbox.apply("augusta", { userUUID: uuid }),
    always: neverOpenToBoth,
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "augusta", { same, rotated: true });
      assert.deepEqual(await waysIn(sandbox, same), []);
    },
  },
  {
    name: "delete and retain",
    wishes: { patch: { allow: { retain: true } } },
    before: made({ deletionPolicy: "Retain" }),
    act: (sandbox) => sandbox.remove("ada"),
    holds: async (sandbox, before) => {
      assert.equal(await sandbox.user("ada"), undefined, "the object is still there");
      await isAtRest(sandbox, before.uuid, "retained");
      assert.equal((await sandbox.realm.admin.users.find({ max: 100 }))[0]?.enabled, true);
      assert.equal(await sandbox.opens(before.apiKey), 200);
      assert.equal((await sandbox.secrets()).length, 1);
    },
  },
  {
    name: "adopt",
    wishes: { patch: { adoption: "Unclaimed" } },
    before: async (sandbox) => {
      const { id } = await sandbox.realm.admin.users.create({
        username: sandbox.email("ada"),
        email: sandbox.email("ada"),
        emailVerified: true,
        enabled: true,
      });
      return { ...NOBODY, keycloakID: id };
    },
    act: (sandbox) => sandbox.apply("ada"),
    holds: async (sandbox, { keycloakID }) => {
      assert.equal((await isWhole(sandbox, "ada")).keycloakID, keycloakID);
    },
  },
  {
    name: "release the adopted",
    wishes: { patch: { adoption: "Unclaimed" } },
    before: async (sandbox) => {
      const email = sandbox.email("ada");
      await sandbox.realm.admin.users.create({ username: email, email, emailVerified: true, enabled: true });
      return made()(sandbox);
    },
    act: (sandbox) => sandbox.remove("ada"),
    holds: async (sandbox, before) => {
      assert.equal(await sandbox.user("ada"), undefined, "the object is still there");
      await isAtRest(sandbox, before.uuid, "deleted");
      const [user, ...others] = await sandbox.realm.admin.users.find({ max: 100, briefRepresentation: false });
      assert.deepEqual([user?.id, user?.enabled, others.length], [before.keycloakID, true, 0]);
      assert.equal(user?.attributes?.["sme_user_uuid"], undefined, "the mark is still there");
      assert.notEqual(await sandbox.opens(before.apiKey), 200);
      assert.equal((await sandbox.secrets()).length, 0);
    },
  },
  {
    name: "rotate with overlap",
    everywhere: true,
    gateways: NEW_API,
    before: made(),
    act: (sandbox) => sandbox.apply("ada", { key: { generation: 1, overlap: "4s" } }),
    always: atMostTwoKeysAndOneInTheSecret,
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "ada", { same, rotated: true });
      assert.equal((await sandbox.user("ada"))?.status?.key?.generation, 1);
      toldOnce(sandbox, same.uuid, "sme.user.key-rotated");
    },
  },
  {
    name: "lose the Secret and the password",
    gateways: NEW_API,
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await changeByHand(sandbox, { password: "changed-by-hand" });
      return person;
    },
    act: loseTheSecret,
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "lose the remark",
    gateways: NEW_API,
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await changeByHand(sandbox, { remark: "" });
      return person;
    },
    act: (sandbox) => sandbox.apply("ada", { displayName: "Ada Lovelace" }),
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "lose the Secret while locked",
    gateways: NEW_API,
    before: made({ enabled: false }),
    act: loseTheSecret,
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same, enabled: false }),
  },
  {
    name: "edit tier and quota",
    gateways: NEW_API,
    wishes: RICH,
    before: made({ newapi: { quota: 1_000 } }),
    act: (sandbox) => sandbox.apply("ada", { newapi: { tier: "vip", quota: 2_000 } }),
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "ada", { same });
      const [user] = await sandbox.gateway.newApiUsers();
      assert.deepEqual([user?.group, user?.quota], ["vip", 2_000]);
    },
  },
  {
    name: "change the account by hand",
    gateways: NEW_API,
    wishes: { ...RICH, driftSeconds: 5 },
    before: made({ newapi: { quota: 1_000 } }),
    act: (sandbox) => changeByHand(sandbox, { group: "svip" }),
    holds: async (sandbox, same) => {
      await isWhole(sandbox, "ada", { same });
      const [user] = await sandbox.gateway.newApiUsers();
      assert.deepEqual([user?.group, user?.quota], ["default", 1_000]);
    },
  },
  {
    name: "lose the database during an overlap",
    gateways: NEW_API,
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await sandbox.apply("ada", DURING_OVERLAP);
      const rotated = await inTheEnd(async () => {
        assert.equal((await sandbox.user("ada"))?.status?.key?.generation, 1);
        assert.equal((await sandbox.accounts())[0]?.keySHA256.length, 2);
        const [secret] = await sandbox.secrets();
        return { ...person, apiKey: secret?.data["api-key"] ?? "" };
      }, PATIENCE_MS);
      await sandbox.kill();
      await sandbox.tearOut("ada");
      await sandbox.db.query("truncate user_provision_state, waiting");
      sandbox.start();
      return rotated;
    },
    act: (sandbox) => sandbox.apply("ada", DURING_OVERLAP),
    always: atMostTwoKeysAndOneInTheSecret,
    holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
  },
  {
    name: "delete for good",
    gateways: NEW_API,
    wishes: FOR_GOOD,
    before: made(),
    act: (sandbox) => sandbox.remove("ada"),
    holds: (sandbox, before) => isRemoved(sandbox, "ada", before),
  },
  {
    name: "come back after deletion for good",
    gateways: NEW_API,
    wishes: FOR_GOOD,
    before: async (sandbox) => {
      const person = await made()(sandbox);
      await sandbox.remove("ada");
      await inTheEnd(() => isRemoved(sandbox, "ada", person), PATIENCE_MS);
      return person;
    },
    act: (sandbox) => sandbox.apply("ada"),
    holds: async (sandbox, before) => {
      const [account, ...others] = await sandbox.accounts();
      assert.deepEqual(
        [account?.uuid, account?.disabled, account?.keySHA256.length, others.length],
        [before.uuid, false, 1, 0],
      );
      assert.equal(await sandbox.opens(before.apiKey), 401, "the key that was dropped opens again");
      const [secret] = await sandbox.secrets();
      assert.equal(await sandbox.opens(secret?.data["api-key"] ?? ""), 200);
      const ready = (await sandbox.user("ada"))?.status?.conditions?.find(({ type }) => type === "Ready");
      assert.equal(ready?.status, "True", ready?.message);
      await isAtRest(sandbox, before.uuid, "done");
    },
  },
];

const LINKED = "elsewhere";

/** Everything that can open a Keycloak account: a password, an identity provider, and a login that needs neither. */
async function openToAda(sandbox: Sandbox, { keycloakID: id }: Person): Promise<void> {
  const { admin, url, realm } = sandbox.realm;
  const config = { clientId: "x", authorizationUrl: "http://127.0.0.1/a", tokenUrl: "http://127.0.0.1/t" };
  if ((await admin.identityProviders.findOne({ alias: LINKED })) === null)
    await admin.identityProviders.create({ alias: LINKED, providerId: "oidc", enabled: true, config });
  const federatedIdentity = { identityProvider: LINKED, userId: id, userName: "ada" };
  await admin.users.addToFederatedIdentity({ id, federatedIdentityId: LINKED, federatedIdentity });
  await admin.users.resetPassword({ id, credential: { type: "password", value: "ada's", temporary: false } });
  await admin.users.update({ id }, { ...(await admin.users.findOne({ id })), requiredActions: [] });
  const answer = await fetch(`${url}/realms/${realm}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "password",
      client_id: "admin-cli",
      scope: "openid offline_access",
      username: sandbox.email("ada"),
      password: "ada's",
    }),
  });
  assert.equal(answer.status, 200, await answer.text());
  assert.deepEqual(await waysIn(sandbox, { keycloakID: id }), ["password", LINKED, "offline access"]);
}

async function waysIn(sandbox: Sandbox, { keycloakID: id }: Pick<Person, "keycloakID">): Promise<string[]> {
  const { users } = sandbox.realm.admin;
  const consents = z.array(z.unknown()).parse(await users.listConsents({ id }));
  return [
    ...(await users.getCredentials({ id })).map(({ type = "" }) => type),
    ...(await users.listFederatedIdentities({ id })).map(({ identityProvider = "" }) => identityProvider),
    ...consents.map(() => "offline access"),
  ];
}

/** An account that is open is the new person's alone. */
async function neverOpenToBoth(sandbox: Sandbox, before: Person): Promise<void> {
  const user = await sandbox.realm.admin.users.findOne({ id: before.keycloakID });
  assert(user !== undefined, "the account is gone");
  if (user.enabled === true) assert.deepEqual(await waysIn(sandbox, before), []);
}

/** At every moment of a rotation: whoever reads the Secret has a key that works, and no third one is alive. */
async function atMostTwoKeysAndOneInTheSecret(sandbox: Sandbox): Promise<void> {
  const [account] = await sandbox.accounts();
  const alive = account?.keySHA256.length ?? 0;
  assert(alive >= 1 && alive <= 2, `${alive} keys are alive`);
  const [secret] = await sandbox.secrets();
  const status = await sandbox.opens(secret?.data["api-key"] ?? "");
  assert.equal(status, 200, "the Secret's key does not open");
}

/** The gateway's admin overwrites a field of the one account; the call overwrites all, so the others are sent along. */
async function changeByHand(sandbox: Sandbox, change: object): Promise<void> {
  const [user] = await sandbox.gateway.newApiUsers();
  assert(user !== undefined);
  const { id, username, display_name, group, remark = "" } = user;
  await sandbox.overwrite({ id, username, display_name, group, remark, ...change });
}
