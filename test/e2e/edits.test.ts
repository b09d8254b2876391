/** Every field of a person can be edited: what follows at the upstreams, what cannot, and what stays. */
import { randomUUID } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

import { candidateUUID } from "../../src/api/names.ts";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, condition } from "../../src/api/meta.ts";
import type { TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { makePostOffice } from "../crash/environment.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

type Spec = Partial<TenantUserSpecInput>;

let platform: Platform;
/** One key and no changes at its gateway. */
let plain: TestTenant;
/** In a realm that keeps user names, at a gateway that can follow. */
let other: TestTenant;
let postOffice: Awaited<ReturnType<typeof makePostOffice>>;

const PATCH = {
  allow: {
    groups: ["/team"],
    realmRoles: ["auditor"],
    attributes: ["department"],
    tiers: ["vip"],
    secretPrefixes: ["llm-"],
    secretMetadata: ["team", "example.com/why"],
  },
  limits: { maxQuota: 1_000 },
};

beforeAll(async () => {
  [platform, postOffice] = await Promise.all([openPlatform(), makePostOffice()]);
  [plain, other] = await Promise.all([
    platform.tenant("edits", { patch: PATCH }),
    platform.tenant("keeps", {
      patch: PATCH,
      values: { NEWAPI_DIALECT: "new-api" },
      realm: { editUsernameAllowed: false },
    }),
  ]);
  const { admin, realm } = plain.realm;
  const smtpServer = { host: "127.0.0.1", port: String(postOffice.port), from: "no-reply@example.org" };
  await admin.realms.update({ realm }, { smtpServer });
});
afterAll(async () => {
  postOffice?.close();
  await platform?.close();
});

async function made(of: TestTenant, name: string, spec: Spec = {}): Promise<Person> {
  await of.apply(name, spec);
  return of.person(name);
}

const user = async (of: TestTenant, { keycloakID: id }: Person) => of.realm.admin.users.findOne({ id });
const ids = async (of: TestTenant, name: string): Promise<unknown[]> => {
  const { status } = await of.ready(name);
  return [status?.userUUID, status?.keycloak?.userID, status?.newapi?.userID];
};

/** Waits until just this was told of the person, each once. The status is written first, the event with the record after it. */
const told = (uuid: string, types: readonly string[]): Promise<void> =>
  soon(async () => {
    const events = await platform.events(uuid);
    assert.deepEqual([...new Map(events.map(({ id, type }) => [id, type])).values()], types);
  });

interface Edit {
  readonly from?: Spec;
  readonly to: Spec;
  readonly look: (person: Person, name: string) => Promise<unknown>;
  readonly was: unknown;
  readonly is: unknown;
}

const inKeycloak =
  (field: "firstName" | "lastName" | "enabled" | "requiredActions"): Edit["look"] =>
  async (person) =>
    (await user(plain, person))?.[field];
const attribute =
  (name: string): Edit["look"] =>
  async (person) =>
    z.record(z.string(), z.array(z.string())).parse((await user(plain, person))?.attributes)[name];
const groups: Edit["look"] = async ({ uuid }) => (await plain.keycloakUsers(uuid))[0]?.groups;
const roles: Edit["look"] = async ({ keycloakID: id }) =>
  (await plain.realm.admin.users.listRealmRoleMappings({ id }))
    .map(({ name = "" }) => name)
    .filter((name) => !name.startsWith("default-roles-"));

const secretShape = z.object({
  metadata: z.object({
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  data: z.record(z.string(), z.string()),
});
/** What the status names, and that there is no other one of this person. */
const secret =
  (part: (secret: z.infer<typeof secretShape>) => unknown): Edit["look"] =>
  async ({ uuid }, name) => {
    const path = `/api/v1/namespaces/${plain.namespace}/secrets?labelSelector=catalyst.openova.io/sme-user-uuid=${uuid}`;
    const { items } = z.object({ items: z.array(secretShape) }).parse((await platform.api.send("GET", path)).body);
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      [(await plain.user(name))?.status?.secretName],
    );
    return items.map(part)[0];
  };
const entries = secret(({ data }) => Object.keys(data).toSorted());
const additions = secret(({ metadata }) => [metadata.labels["team"], metadata.annotations["example.com/why"]]);

const EDITS: Readonly<Record<string, Edit>> = {
  displayName: {
    from: { displayName: "Ada" },
    to: { displayName: "Ada Lovelace" },
    look: attribute("displayName"),
    was: ["Ada"],
    is: ["Ada Lovelace"],
  },
  firstName: {
    from: { firstName: "Ada" },
    to: { firstName: "Augusta" },
    look: inKeycloak("firstName"),
    was: "Ada",
    is: "Augusta",
  },
  lastName: { to: { lastName: "Lovelace" }, look: inKeycloak("lastName"), was: undefined, is: "Lovelace" },
  enabled: { to: { enabled: false }, look: inKeycloak("enabled"), was: true, is: false },
  groups: { to: { groups: ["team"] }, look: groups, was: ["/sme-users"], is: ["/sme-users", "/team"] },
  "groups to none": {
    from: { groups: ["/team"] },
    to: { groups: [] },
    look: groups,
    was: ["/sme-users", "/team"],
    is: ["/sme-users"],
  },
  realmRoles: { to: { realmRoles: ["auditor"] }, look: roles, was: [], is: ["auditor"] },
  "realmRoles to none": { from: { realmRoles: ["auditor"] }, to: {}, look: roles, was: ["auditor"], is: [] },
  attributes: {
    from: { attributes: { department: ["one"] } },
    to: { attributes: { department: ["two", "three"] } },
    look: attribute("department"),
    was: ["one"],
    is: ["two", "three"],
  },
  "attributes to none": {
    from: { attributes: { department: ["one"] } },
    to: {},
    look: attribute("department"),
    was: ["one"],
    is: undefined,
  },
  // Given once: repeated, they would never end.
  requiredActions: {
    from: { requiredActions: ["UPDATE_PASSWORD"] },
    to: { requiredActions: ["VERIFY_EMAIL"] },
    look: inKeycloak("requiredActions"),
    was: ["UPDATE_PASSWORD"],
    is: ["UPDATE_PASSWORD"],
  },
  "secret.name": {
    from: { secret: { name: "newapi-key-one" } },
    to: { secret: { name: "llm-two" } },
    look: secret(({ metadata }) => metadata.name),
    was: "newapi-key-one",
    is: "llm-two",
  },
  "secret.keys": {
    to: { secret: { keys: { apiKey: "OPENAI_API_KEY", baseURL: "OPENAI_BASE_URL" } } },
    look: entries,
    was: ["api-key", "base-url"],
    is: ["OPENAI_API_KEY", "OPENAI_BASE_URL"],
  },
  "secret.labels and annotations": {
    to: { secret: { labels: { team: "red" }, annotations: { "example.com/why": "because" } } },
    look: additions,
    was: [undefined, undefined],
    is: ["red", "because"],
  },
  "secret.labels and annotations to none": {
    from: { secret: { labels: { team: "red" }, annotations: { "example.com/why": "because" } } },
    to: {},
    look: additions,
    was: ["red", "because"],
    is: [undefined, undefined],
  },
};

describe.concurrent("an edit of", () => {
  it.each(Object.entries(EDITS))("%s is followed, and it is the same person", async (field, edit) => {
    const name = field.toLowerCase().replaceAll(/[^a-z]+/g, "-");
    const person = await made(plain, name, edit.from);
    const before = await ids(plain, name);
    expect(await edit.look(person, name)).toEqual(edit.was);
    await plain.apply(name, edit.to);
    expect(await ids(plain, name)).toEqual(before);
    expect(await edit.look(person, name)).toEqual(edit.is);
    await told(person.uuid, ["sme.user.created", "sme.user.updated"]);
    const open = edit.to.enabled === false ? 403 : 200;
    expect(await platform.opens(person.apiKey)).toBe(open);
  });

  it("newapi.tier and newapi.quota is followed where the gateway can, and said where it cannot", async () => {
    const to = { newapi: { tier: "vip", quota: 500 } };
    await Promise.all([made(plain, "tier"), made(other, "tier")]);
    const before = [await plain.person("tier"), await other.person("tier")];
    await Promise.all([plain.apply("tier", to), other.apply("tier", to)]);
    expect([await plain.person("tier"), await other.person("tier")]).toEqual(before);

    const { message } = await plain.says("tier", "NewAPIReady", "True", "NotSupportedByGateway");
    expect(message).toBe(
      "This gateway knows no quota; spec.newapi.quota has no effect. " +
        "This gateway cannot change the tier of an account that exists; it keeps the one it was made with.",
    );
    await other.says("tier", "NewAPIReady", "True", "Ready");
    const account = (await platform.gateway.newApiUsers()).find(({ id }) => String(id) === before[1]?.accountID);
    expect(account).toMatchObject({ group: "vip", quota: 500 });
  });

  it("email keeps uuid, ids and key; realm and gateway follow, or it is said that they cannot", async () => {
    const people = [await made(plain, "email"), await made(other, "email")];
    const moves = [plain, other].map((tenant) => tenant.apply("email", { email: tenant.email("lovelace") }));
    await Promise.all(moves);
    expect([await plain.person("email"), await other.person("email")]).toEqual(people);
    const [follows, keeps] = people;
    assert(follows !== undefined && keeps !== undefined);

    const address = plain.email("lovelace");
    expect(await user(plain, follows)).toMatchObject({ username: address, email: address, emailVerified: true });
    expect((await plain.row(follows.uuid))?.email).toBe(address);
    expect((await plain.says("email", "NewAPIReady", "True", "NotSupportedByGateway")).message).toBe(
      "This gateway cannot change the email of an account that exists; the account, its id and its key stay.",
    );

    expect(await user(other, keeps)).toMatchObject({ username: other.email("email"), email: other.email("lovelace") });
    expect((await other.says("email", "KeycloakReady", "True", "NotSupportedByGateway")).message).toBe(
      "The realm keeps user names (editUsernameAllowed is off), so the user name stayed as it was.",
    );

    // Whoever gets the address of before is somebody else.
    await plain.apply("successor", { email: plain.email("email") });
    const successor = await plain.person("successor");
    expect(successor.uuid).toBe(candidateUUID(plain.id, plain.email("email"), 2));
    expect(new Set([...Object.values(successor), ...Object.values(follows)]).size).toBe(10);
    expect(await plain.person("email")).toEqual(follows);
    // Where user names stay, the address does too: a person must help, and is told how.
    await other.apply("successor", { email: other.email("email") });
    expect((await other.says("successor", "Ready", "False", "EmailInUse")).message).toContain("editUsernameAllowed");
    expect(await other.person("email")).toEqual(keeps);
  });

  it("userUUID that is not the person's own is refused, and its own is welcome", async () => {
    const person = await made(plain, "pin");
    await plain.apply("pin", { userUUID: randomUUID() });
    await plain.says("pin", "Stalled", "True", "UUIDNotYours");
    await plain.apply("pin", { userUUID: person.uuid });
    expect(await plain.person("pin")).toEqual(person);
  });

  it("invitation sends one mail, once for this Keycloak user", async () => {
    const address = plain.email("invitation");
    await made(plain, "invitation");
    await plain.apply("invitation", { invitation: "Email" });
    await plain.ready("invitation");
    expect(postOffice.mails(address)).toBe(1);
    await plain.apply("invitation", {});
    await plain.ready("invitation");
    await plain.apply("invitation", { invitation: "Email" });
    await plain.ready("invitation");
    expect(postOffice.mails(address)).toBe(1);
  });

  it("key.generation rotates once when it is raised, and never when it is lowered", async () => {
    const before = await made(plain, "rotating", { key: { generation: 1 } });
    await plain.apply("rotating", { key: { generation: 5 } });
    const after = await plain.person("rotating");
    expect({ ...after, apiKey: "" }).toEqual({ ...before, apiKey: "" });
    expect([await platform.opens(before.apiKey), await platform.opens(after.apiKey)]).toEqual([401, 200]);
    const { status } = await plain.ready("rotating");
    expect(status?.key).toMatchObject({ generation: 5, rotatedAt: expect.any(String) });

    await plain.apply("rotating", { key: { generation: 2 } });
    expect(await plain.person("rotating")).toEqual(after);
    expect((await plain.user("rotating"))?.status?.key).toEqual(status?.key);
    await told(before.uuid, ["sme.user.created", "sme.user.updated", "sme.user.key-rotated", "sme.user.updated"]);
    const rotations = (await platform.events(before.uuid)).filter(({ type }) => type === "sme.user.key-rotated");
    expect(new Set(rotations.map(({ id }) => id)).size).toBe(1);
    expect(rotations[0]).toMatchObject({ metadata: { key_generation: "5" } });
  });

  it("suspend holds back every write outside until it is lifted, and no deletion", async () => {
    const person = await made(plain, "suspended");
    const before = await plain.everything(person);
    await plain.apply("suspended", { suspend: true, displayName: "Later", key: { generation: 1 } });
    await plain.says("suspended", "Suspended", "True", "Suspended");
    // What it was before it still is.
    await plain.says("suspended", "Ready", "True", "Ready");
    const { row: _r, ...outside } = z.looseObject({ row: z.unknown() }).parse(await plain.everything(person));
    expect(before).toMatchObject(outside);

    await plain.apply("suspended", { displayName: "Later", key: { generation: 1 } });
    const resumed = await plain.person("suspended");
    expect(resumed.apiKey).not.toBe(person.apiKey);
    expect((await user(plain, person))?.attributes).toMatchObject({ displayName: ["Later"] });
    expect(
      z
        .array(condition)
        .parse((await plain.user("suspended"))?.status?.conditions)
        .map(({ type }) => type),
    ).not.toContain("Suspended");

    await plain.apply("suspended", { suspend: true });
    await plain.says("suspended", "Suspended", "True", "Suspended");
    await plain.remove("suspended");
    await plain.gone("suspended");
    expect(await plain.keycloakUsers(person.uuid)).toEqual([]);
    expect(await platform.opens(resumed.apiKey)).toBe(403);
  });
});

describe.concurrent("an annotation", () => {
  it("requestedAt: everything is looked at now, what was changed outside is fixed, and it is acknowledged", async () => {
    const person = await made(plain, "requested");
    await plain.realm.admin.users.update({ id: person.keycloakID }, { enabled: false, lastName: "Somebody" });
    await plain.annotate("requested", { [ANNOTATION_REQUESTED_AT]: "now" });
    await soon(async () => assert.equal((await plain.user("requested"))?.status?.lastHandledRequestedAt, "now"));
    expect(await user(plain, person)).toMatchObject({ enabled: true });
    expect(await plain.person("requested")).toEqual(person);
  });

  it("requestedAt: one who is Stalled is tried again", async () => {
    const email = plain.email("blocked");
    const id = (await plain.realm.admin.users.create({ username: email, email })).id;
    await plain.apply("blocked");
    await plain.says("blocked", "Stalled", "True", "UserClaimed");
    await plain.realm.admin.users.del({ id });
    await plain.annotate("blocked", { [ANNOTATION_REQUESTED_AT]: "again" });
    await plain.person("blocked");
    expect((await plain.user("blocked"))?.status?.lastHandledRequestedAt).toBe("again");
  });

  it("rotateRequestedAt: the key is rotated once, with its event, and not again for the same value", async () => {
    const before = await made(plain, "asked");
    await plain.annotate("asked", { [ANNOTATION_ROTATE_REQUESTED_AT]: "one" });
    const after = await soon(async () => {
      const person = await plain.person("asked");
      assert.notEqual(person.apiKey, before.apiKey);
      return person;
    });
    expect(await platform.opens(before.apiKey)).toBe(401);
    await plain.annotate("asked", { [ANNOTATION_REQUESTED_AT]: "look again" });
    await soon(async () => assert.equal((await plain.user("asked"))?.status?.lastHandledRequestedAt, "look again"));
    expect(await plain.person("asked")).toEqual(after);
    await told(before.uuid, ["sme.user.created", "sme.user.key-rotated"]);
  });
});
