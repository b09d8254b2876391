/** What people do, each cut at every point that it passes. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { GatewayKind, Place, PlaceWishes } from "./place.ts";
import { inTheEnd, isAtRest, isGone, isRemoved, isWhole, type Person, toldOnce } from "./promise.ts";

export interface Scenario {
  readonly name: string;
  /** At which it can happen. Default: one of each dialect. */
  readonly gateways?: readonly GatewayKind[];
  /** Also in the short form at all of them: each has an effect of its own that hardly another scenario has. */
  readonly everywhere?: boolean;
  readonly wishes?: PlaceWishes;
  /** What must be there before; the cuts come after it. Absent: the reconciler is cut from its very start on. */
  readonly before?: (place: Place) => Promise<Person>;
  readonly act: (place: Place) => Promise<void>;
  /** Throws as long as it does not hold. */
  readonly holds: (place: Place, before: Person) => Promise<unknown>;
  /** Throws as soon as something is not so at any moment on the way. */
  readonly always?: (place: Place, before: Person) => Promise<unknown>;
}

const PATIENCE_MS = 120_000;
const ALLOWED: PlaceWishes = {
  patch: { allow: { groups: ["/team-a", "/team-b"], realmRoles: ["role-a", "role-b"] } },
};
const NEW_API: readonly GatewayKind[] = ["new-api", "new-api, bearer"];
const RICH: PlaceWishes = { patch: { allow: { tiers: ["vip"] }, limits: { maxQuota: 10_000 } } };
const FOR_GOOD: PlaceWishes = { patch: { newapi: { deletion: "Delete" } } };
const TEAM_A = { groups: ["/team-a"], realmRoles: ["role-a"], displayName: "Ada" };
const TEAM_B = { groups: ["/team-b"], realmRoles: ["role-b"], displayName: "Ada Lovelace" };

const DURING_OVERLAP = { key: { generation: 1, overlap: "1h" } };

async function loseTheSecret(place: Place): Promise<void> {
  const [secret] = await place.secrets();
  await place.removeSecret(secret?.name ?? "");
}

const made =
  (spec: Parameters<Place["apply"]>[1] = {}) =>
  async (place: Place): Promise<Person> => {
    await place.apply("ada", spec);
    return inTheEnd(() => isWhole(place, "ada", { enabled: spec.enabled ?? true }), PATIENCE_MS);
  };

const NOBODY: Person = { uuid: "", keycloakID: "", accountID: "", secretName: "", apiKey: "" };

async function groupsAndRoles(place: Place, { keycloakID: id }: Person): Promise<string[]> {
  const groups = await place.realm.admin.users.listGroups({ id });
  const roles = await place.realm.admin.users.listRealmRoleMappings({ id });
  const held = roles.map(({ name = "" }) => name).filter((name) => name.startsWith("role-"));
  return [...groups.map(({ path = "" }) => path), ...held].toSorted();
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "create",
    everywhere: true,
    act: (place) => place.apply("ada"),
    holds: (place) => isWhole(place, "ada"),
  },
  {
    name: "invite",
    before: () => Promise.resolve(NOBODY),
    act: (place) => place.apply("ada", { invitation: "Email" }),
    holds: async (place) => {
      await isWhole(place, "ada");
      assert(place.ground.mails(place.email("ada")) <= 1, "there was more than one mail");
    },
  },
  {
    name: "edit",
    wishes: ALLOWED,
    before: made(TEAM_A),
    act: (place) => place.apply("ada", TEAM_B),
    holds: async (place, same) => {
      await isWhole(place, "ada", { same });
      assert.deepEqual(await groupsAndRoles(place, same), ["/sme-users", "/team-b", "role-b"]);
    },
  },
  {
    name: "disable",
    before: made(),
    act: (place) => place.apply("ada", { enabled: false }),
    holds: (place, same) => isWhole(place, "ada", { same, enabled: false }),
  },
  {
    name: "enable",
    everywhere: true,
    before: made({ enabled: false }),
    act: (place) => place.apply("ada"),
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "rotate",
    everywhere: true,
    before: made(),
    act: (place) => place.apply("ada", { key: { generation: 1 } }),
    holds: async (place, same) => {
      await isWhole(place, "ada", { same, rotated: true });
      assert.equal((await place.user("ada"))?.status?.key?.generation, 1);
      toldOnce(place, same.uuid, "sme.user.key-rotated");
      const rotations = (await place.gateway.journal()).filter(({ path }) => path.endsWith("/keys/rotate"));
      assert(rotations.length <= 2, `the key was rotated ${rotations.length} times`);
    },
  },
  {
    name: "change the email",
    before: made(),
    act: (place) => place.apply("ada", { email: place.email("lovelace") }),
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "rename the Secret",
    before: made(),
    act: (place) => place.apply("ada", { secret: { name: "newapi-key-ada" } }),
    holds: async (place, same) => {
      assert.equal((await isWhole(place, "ada", { same })).secretName, "newapi-key-ada");
    },
  },
  {
    name: "lose the Secret",
    before: made(),
    act: loseTheSecret,
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "delete",
    everywhere: true,
    before: made(),
    act: (place) => place.remove("ada"),
    holds: (place, before) => isGone(place, "ada", before),
  },
  {
    name: "hand over",
    before: async (place) => {
      const person = await made()(place);
      await place.apply("augusta", { email: place.email("ada") });
      await inTheEnd(async () => {
        const { rowCount } = await place.db.query("select 1 from waiting");
        assert.equal(rowCount, 1);
      }, PATIENCE_MS);
      return person;
    },
    act: (place) => place.remove("ada"),
    holds: async (place, same) => {
      assert.equal(await place.user("ada"), undefined);
      await isWhole(place, "augusta", { same });
    },
  },
  {
    name: "wait for an email",
    before: made(),
    act: (place) => place.apply("augusta", { email: place.email("ada") }),
    holds: async (place, same) => {
      const augusta = await place.user("augusta");
      assert.equal(augusta?.status?.conditions?.find(({ type }) => type === "Ready")?.reason, "EmailInUse");
      const { rows } = await place.db.query<{ why: string }>("select why from waiting");
      assert.deepEqual(rows, [{ why: "EmailInUse" }]);
      assert.equal((await place.realm.admin.users.find({ max: 100 })).length, 1);
      assert.equal((await place.secrets()).length, 1);
      assert.equal(await place.opens(same.apiKey), 200);
    },
  },
  {
    name: "come back",
    before: async (place) => {
      const person = await made()(place);
      await place.remove("ada");
      await inTheEnd(() => isGone(place, "ada", person), PATIENCE_MS);
      return person;
    },
    act: (place) => place.apply("ada"),
    holds: async (place, before) => {
      const { rows } = await place.db.query<{ state: string }>("select state from user_provision_state");
      assert.deepEqual(rows, [{ state: "done" }]);
      const user = await place.user("ada");
      assert.equal(user?.status?.userUUID, before.uuid);
      const [account, ...others] = await place.accounts();
      assert.deepEqual(
        [account?.accountID, account?.disabled, account?.keySHA256.length, others.length],
        [before.accountID, false, 1, 0],
      );
      assert.equal((await place.realm.admin.users.find({ max: 100 })).length, 1);
      assert.equal(await place.opens(before.apiKey), 401, "the key that was let go of opens again");
      const [secret, ...more] = await place.secrets();
      assert.equal(more.length, 0);
      assert.equal(await place.opens(secret?.data["api-key"] ?? ""), 200);
      const ready = user?.status?.conditions?.find(({ type }) => type === "Ready");
      assert.equal(ready?.status, "True", ready?.message);
      await isAtRest(place, before.uuid, "done");
    },
  },
  {
    name: "lose the database and the pin",
    before: async (place) => {
      const person = await made({ userUUID: randomUUID() })(place);
      await place.kill();
      await place.tearOut("ada");
      await place.db.query("truncate user_provision_state, waiting");
      place.start();
      return person;
    },
    act: (place) => place.apply("ada"),
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "delete with grace",
    wishes: { deletionGrace: "24h" },
    before: made(),
    act: (place) => place.remove("ada"),
    holds: async (place, before) => {
      assert.equal(await place.user("ada"), undefined, "the object is still there");
      await isAtRest(place, before.uuid, "deleting");
      const [user, ...others] = await place.realm.admin.users.find({ max: 100 });
      assert.deepEqual([user?.id, user?.enabled, others.length], [before.keycloakID, false, 0]);
      assert.equal((await place.accounts())[0]?.disabled, true);
      assert.equal((await place.secrets()).length, 0);
      assert.notEqual(await place.opens(before.apiKey), 200);
    },
  },
  {
    name: "return within grace",
    wishes: { deletionGrace: "24h" },
    before: async (place) => {
      const person = await made()(place);
      await place.remove("ada");
      await inTheEnd(async () => {
        assert.equal(await place.user("ada"), undefined);
        await isAtRest(place, person.uuid, "deleting");
      }, PATIENCE_MS);
      return person;
    },
    act: (place) => place.apply("ada"),
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "delete and retain",
    before: made({ deletionPolicy: "Retain" }),
    act: (place) => place.remove("ada"),
    holds: async (place, before) => {
      assert.equal(await place.user("ada"), undefined, "the object is still there");
      await isAtRest(place, before.uuid, "retained");
      assert.equal((await place.realm.admin.users.find({ max: 100 }))[0]?.enabled, true);
      assert.equal(await place.opens(before.apiKey), 200);
      assert.equal((await place.secrets()).length, 1);
    },
  },
  {
    name: "adopt",
    wishes: { patch: { adoption: "Unclaimed" } },
    before: async (place) => {
      const { id } = await place.realm.admin.users.create({
        username: place.email("ada"),
        email: place.email("ada"),
        emailVerified: true,
        enabled: true,
      });
      return { ...NOBODY, keycloakID: id };
    },
    act: (place) => place.apply("ada"),
    holds: async (place, { keycloakID }) => {
      assert.equal((await isWhole(place, "ada")).keycloakID, keycloakID);
    },
  },
  {
    name: "release the adopted",
    wishes: { patch: { adoption: "Unclaimed" } },
    before: async (place) => {
      const email = place.email("ada");
      await place.realm.admin.users.create({ username: email, email, emailVerified: true, enabled: true });
      return made()(place);
    },
    act: (place) => place.remove("ada"),
    holds: async (place, before) => {
      assert.equal(await place.user("ada"), undefined, "the object is still there");
      await isAtRest(place, before.uuid, "deleted");
      const [user, ...others] = await place.realm.admin.users.find({ max: 100, briefRepresentation: false });
      assert.deepEqual([user?.id, user?.enabled, others.length], [before.keycloakID, true, 0]);
      assert.equal(user?.attributes?.["sme_user_uuid"], undefined, "the mark is still there");
      assert.notEqual(await place.opens(before.apiKey), 200);
      assert.equal((await place.secrets()).length, 0);
    },
  },
  {
    name: "rotate with overlap",
    everywhere: true,
    gateways: NEW_API,
    before: made(),
    act: (place) => place.apply("ada", { key: { generation: 1, overlap: "4s" } }),
    always: atMostTwoKeysAndOneInTheSecret,
    holds: async (place, same) => {
      await isWhole(place, "ada", { same, rotated: true });
      assert.equal((await place.user("ada"))?.status?.key?.generation, 1);
      toldOnce(place, same.uuid, "sme.user.key-rotated");
    },
  },
  {
    name: "lose the Secret and the password",
    gateways: NEW_API,
    before: async (place) => {
      const person = await made()(place);
      await changeByHand(place, { password: "changed-by-hand" });
      return person;
    },
    act: loseTheSecret,
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "lose the remark",
    gateways: NEW_API,
    before: async (place) => {
      const person = await made()(place);
      await changeByHand(place, { remark: "" });
      return person;
    },
    act: (place) => place.apply("ada", { displayName: "Ada Lovelace" }),
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "lose the Secret while locked",
    gateways: NEW_API,
    before: made({ enabled: false }),
    act: loseTheSecret,
    holds: (place, same) => isWhole(place, "ada", { same, enabled: false }),
  },
  {
    name: "edit tier and quota",
    gateways: NEW_API,
    wishes: RICH,
    before: made({ newapi: { quota: 1_000 } }),
    act: (place) => place.apply("ada", { newapi: { tier: "vip", quota: 2_000 } }),
    holds: async (place, same) => {
      await isWhole(place, "ada", { same });
      const [user] = await place.gateway.newApiUsers();
      assert.deepEqual([user?.group, user?.quota], ["vip", 2_000]);
    },
  },
  {
    name: "change the account by hand",
    gateways: NEW_API,
    wishes: { ...RICH, driftSeconds: 5 },
    before: made({ newapi: { quota: 1_000 } }),
    act: (place) => changeByHand(place, { group: "svip" }),
    holds: async (place, same) => {
      await isWhole(place, "ada", { same });
      const [user] = await place.gateway.newApiUsers();
      assert.deepEqual([user?.group, user?.quota], ["default", 1_000]);
    },
  },
  {
    name: "lose the database during an overlap",
    gateways: NEW_API,
    before: async (place) => {
      const person = await made()(place);
      await place.apply("ada", DURING_OVERLAP);
      const rotated = await inTheEnd(async () => {
        assert.equal((await place.user("ada"))?.status?.key?.generation, 1);
        assert.equal((await place.accounts())[0]?.keySHA256.length, 2);
        const [secret] = await place.secrets();
        return { ...person, apiKey: secret?.data["api-key"] ?? "" };
      }, PATIENCE_MS);
      await place.kill();
      await place.tearOut("ada");
      await place.db.query("truncate user_provision_state, waiting");
      place.start();
      return rotated;
    },
    act: (place) => place.apply("ada", DURING_OVERLAP),
    always: atMostTwoKeysAndOneInTheSecret,
    holds: (place, same) => isWhole(place, "ada", { same }),
  },
  {
    name: "delete for good",
    gateways: NEW_API,
    wishes: FOR_GOOD,
    before: made(),
    act: (place) => place.remove("ada"),
    holds: (place, before) => isRemoved(place, "ada", before),
  },
  {
    name: "come back after deletion for good",
    gateways: NEW_API,
    wishes: FOR_GOOD,
    before: async (place) => {
      const person = await made()(place);
      await place.remove("ada");
      await inTheEnd(() => isRemoved(place, "ada", person), PATIENCE_MS);
      return person;
    },
    act: (place) => place.apply("ada"),
    holds: async (place, before) => {
      const [account, ...others] = await place.accounts();
      assert.deepEqual(
        [account?.uuid, account?.disabled, account?.keySHA256.length, others.length],
        [before.uuid, false, 1, 0],
      );
      assert.equal(await place.opens(before.apiKey), 401, "the key that was let go of opens again");
      const [secret] = await place.secrets();
      assert.equal(await place.opens(secret?.data["api-key"] ?? ""), 200);
      const ready = (await place.user("ada"))?.status?.conditions?.find(({ type }) => type === "Ready");
      assert.equal(ready?.status, "True", ready?.message);
      await isAtRest(place, before.uuid, "done");
    },
  },
];

/** At every moment of a rotation: whoever reads the Secret has a key that works, and no third one is alive. */
async function atMostTwoKeysAndOneInTheSecret(place: Place): Promise<void> {
  const [account] = await place.accounts();
  const alive = account?.keySHA256.length ?? 0;
  assert(alive >= 1 && alive <= 2, `${alive} keys are alive`);
  const [secret] = await place.secrets();
  const status = await place.opens(secret?.data["api-key"] ?? "");
  assert.equal(status, 200, "the Secret's key does not open");
}

/** The gateway's admin overwrites a field of the one account; the call overwrites all, so the others are sent along. */
async function changeByHand(place: Place, change: object): Promise<void> {
  const [user] = await place.gateway.newApiUsers();
  assert(user !== undefined);
  const { id, username, display_name, group, remark = "" } = user;
  await place.overwrite({ id, username, display_name, group, remark, ...change });
}
