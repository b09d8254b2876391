/** Two tenants in one realm, and marks that somebody writes, wipes or copies: nobody gets at anybody else's. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

import { ANNOTATION_REQUESTED_AT } from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { grantRealmManagement } from "../../stack/realm.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let first: TestTenant;
/** In the same realm. */
let second: TestTenant;
let victim: Person;
/** All that is the victim's, as it stands at the upstreams and in the records. */
let before: object;

beforeAll(async () => {
  platform = await openPlatform();
  first = await platform.tenant("first", { ownDomain: true, patch: { limits: { maxUsers: 50 } } });
  const { realm } = first.realm;
  second = await platform.tenant("second", { ownDomain: true, realm: { realm }, values: { KEYCLOAK_REALM: realm } });
  await first.apply("victim");
  victim = await first.person("victim");
  before = await first.everything(victim);
});
afterAll(() => platform?.close());

const untouched = async (): Promise<void> => {
  expect(await first.everything(victim)).toEqual(before);
  expect(await first.person("victim")).toEqual(victim);
};

/** Refused with this reason, whatever is tried again; then taken back, which moves nothing either. */
async function refused(spec: Record<string, unknown>, reason: string): Promise<string> {
  await second.apply("intruder", spec);
  const { message } = await second.says("intruder", "Stalled", "True", reason);
  await untouched();
  const uuid = (await second.user("intruder"))?.status?.userUUID;
  expect(uuid === undefined ? [] : await second.accounts(uuid)).toEqual([]);
  await second.remove("intruder");
  await second.gone("intruder");
  await untouched();
  return message;
}

const password = "correct horse battery staple";

/** A person of the realm who can log in. */
async function mallory(name: string): Promise<string> {
  const { id } = await first.realm.admin.users.create({
    username: name,
    email: `${name}@example.org`,
    emailVerified: true,
    firstName: "M",
    lastName: "M",
    enabled: true,
    credentials: [{ type: "password", value: password, temporary: false }],
  });
  return id;
}

/** Writes attributes on itself through the account API. The status of the answer. */
async function forge(username: string, attributes: Record<string, string[]>): Promise<number> {
  const base = `${platform.env.KEYCLOAK_URL}/realms/${first.realm.realm}`;
  const login = await fetch(`${base}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "password", client_id: "admin-cli", username, password }),
  });
  const { access_token: token } = z.object({ access_token: z.string() }).parse(await login.json());
  const answer = await fetch(`${base}/account/`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ username, email: `${username}@example.org`, firstName: "M", lastName: "M", attributes }),
  });
  return answer.status;
}

const marks = (tenantID: string, uuid: string) => ({ sme_tenant_id: [tenantID], sme_user_uuid: [uuid] });

async function lookAgain(of: TestTenant, name: string): Promise<void> {
  await of.annotate(name, { [ANNOTATION_REQUESTED_AT]: randomUUID() });
}

describe("the second tenant is refused, and changes nothing, with", () => {
  it("an email of the first one's", async () => {
    expect(await refused({ email: first.email("victim") }, "NotAllowed")).toContain("allow.emailDomains");
    // The platform cannot give it the domain either.
    await second.change({ allow: { emailDomains: [`${second.id}.example`, `${first.id}.example`] } });
    await refused({ email: first.email("victim") }, "NotAllowed");
    await second.change({ allow: { emailDomains: [`${second.id}.example`] } });
  });

  it("a uuid of the first one's, before that exists and after", async () => {
    const uuid = candidateUUID(first.id, first.email("later"));
    await refused({ userUUID: uuid }, "UUIDNotYours");
    await first.apply("later");
    const later = await first.person("later");
    expect(later.uuid).toBe(uuid);
    await refused({ userUUID: uuid }, "UUIDNotYours");
    await refused({ userUUID: victim.uuid }, "UUIDNotYours");
    expect(await first.person("later")).toEqual(later);
  });

  it("the uuid and the email of the first one's together", async () => {
    const together = { userUUID: victim.uuid, email: first.email("victim") };
    expect(await refused(together, "UUIDNotYours")).toContain(victim.uuid);
  });

  it("the email of an administrator of the realm", async () => {
    const email = "admin@platform.example";
    await second.change({ allow: { emailDomains: [`${second.id}.example`, "platform.example"] } });
    const { id } = await first.realm.admin.users.create({
      username: "admin",
      email,
      emailVerified: true,
      enabled: true,
    });
    await grantRealmManagement(first.realm.admin, { user: id }, ["realm-admin"]);
    const admin = await first.realm.admin.users.findOne({ id });
    expect(await refused({ email }, "UserClaimed")).toContain(email);
    // Not by leave either: the realm is not the tenant's own.
    await second.change({ adoption: "Unclaimed" });
    expect(await refused({ email }, "UserClaimed")).toContain(email);
    expect(await first.realm.admin.users.findOne({ id })).toEqual(admin);
    await second.change({ adoption: "Never" });
  });

  it("nothing but a Secret of its own, where it names one as the first one's is named", async () => {
    await second.apply("namesake", { secret: { name: victim.secretName } });
    const namesake = await second.person("namesake");
    expect(namesake.secretName).toBe(victim.secretName);
    expect(namesake.apiKey).not.toBe(victim.apiKey);
    await untouched();
    await second.remove("namesake");
    await second.gone("namesake");
    await untouched();
  });
});

describe("within a tenant", () => {
  it("the Secret of a colleague is nobody else's", async () => {
    await first.apply("colleague", { secret: { name: victim.secretName } });
    const { message } = await first.says("colleague", "Stalled", "True", "SecretForeign");
    expect(message).toContain(victim.secretName);
    await untouched();
    await first.remove("colleague");
    await first.gone("colleague");
    await untouched();
  });
});

describe("marks", () => {
  it("that somebody writes on itself are not kept, and mean nothing", async () => {
    const id = await mallory("mallory");
    await forge("mallory", marks(first.id, victim.uuid));
    expect((await first.realm.admin.users.findOne({ id }))?.attributes?.["sme_user_uuid"]).toBeUndefined();
    await lookAgain(first, "victim");
    await untouchedAfterLook();
  });

  it("that are wiped are said, and nobody is made in the place of the one who lost them", async () => {
    await first.apply("wiped");
    const wiped = await first.person("wiped");
    const { users } = first.realm.admin;
    const user = await users.findOne({ id: wiped.keycloakID });
    await users.update({ id: wiped.keycloakID }, { ...user, attributes: {} });
    const count = await users.count();
    await lookAgain(first, "wiped");
    const { message } = await first.says("wiped", "Stalled", "True", "UserClaimed");
    expect(message).toContain(wiped.keycloakID);
    expect(await users.count()).toBe(count);
    await users.update({ id: wiped.keycloakID }, { ...user });
    await lookAgain(first, "wiped");
    expect(await first.person("wiped")).toEqual(wiped);
  });

  it("that two carry are refused, naming both, until one of them has lost them again", async () => {
    await first.apply("twin");
    const twin = await first.person("twin");
    const { users } = first.realm.admin;
    // The recorded id is not asked about alone when its marks are gone; so let both be found by mark.
    const own = await users.findOne({ id: twin.keycloakID });
    await users.update({ id: twin.keycloakID }, { ...own, attributes: {} });
    const [one, two] = [await mallory("one"), await mallory("two")];
    for (const [id, username] of [
      [one, "one"],
      [two, "two"],
    ] as const) {
      await users.update(
        { id },
        { username, email: `${username}@example.org`, attributes: marks(first.id, twin.uuid) },
      );
    }
    await lookAgain(first, "twin");
    const { message } = await first.says("twin", "Stalled", "True", "UserClaimed");
    expect(message).toContain(one);
    expect(message).toContain(two);
    expect(await users.findOne({ id: one })).toMatchObject({ username: "one", email: "one@example.org" });

    await Promise.all([one, two].map((id) => users.del({ id })));
    await users.update({ id: twin.keycloakID }, { ...own });
    await lookAgain(first, "twin");
    expect(await first.person("twin")).toEqual(twin);
  });

  it("of another tenant on a person are not ours: it is left alone, and its tenant told", async () => {
    await first.apply("sold");
    const sold = await first.person("sold");
    const { users } = first.realm.admin;
    const user = await users.findOne({ id: sold.keycloakID });
    await users.update({ id: sold.keycloakID }, { ...user, attributes: marks(second.id, sold.uuid) });
    await second.apply("buyer", { email: first.email("sold"), userUUID: sold.uuid });
    await second.says("buyer", "Stalled", "True", "UUIDNotYours");
    await lookAgain(first, "sold");
    await first.says("sold", "Ready", "False", "EmailInUse");
    expect(await users.findOne({ id: sold.keycloakID })).toMatchObject({ email: first.email("sold"), enabled: true });
    expect(await platform.opens(sold.apiKey)).toBe(200);
    await users.update({ id: sold.keycloakID }, { ...user });
    await lookAgain(first, "sold");
    expect(await first.person("sold")).toEqual(sold);
  });

  it("that a realm begins to let people forge: found, refused, and of no use to the one who forged them", async () => {
    await first.realm.setProfile("ENABLED");
    const id = await mallory("forger");
    const uuid = candidateUUID(first.id, first.email("successor"));
    expect(await forge("forger", marks(first.id, uuid))).toBe(204);

    // A new version of its credential has the Tenant checked at once.
    const credential = `/api/v1/namespaces/unified-rbac-system/secrets/${first.id}-keycloak`;
    const touch = () =>
      platform.kube.patch(credential, { metadata: { annotations: { touched: randomUUID() } } }, "platform");
    await touch();
    await first.tenantSays("Ready", "False", "MarksForgeable");
    await first.apply("successor");
    await first.says("successor", "Ready", "False", "TenantNotReady");
    await untouchedAfterLook();

    await first.realm.setProfile("ADMIN_EDIT");
    await first.tenantSays("Ready", "True", "Ready");
    // What was forged meanwhile still stands there.
    const forger = await first.realm.admin.users.findOne({ id });
    expect(forger?.attributes).toMatchObject(marks(first.id, uuid));
    const successor = await first.person("successor");
    expect(successor.keycloakID).not.toBe(id);
    expect(await first.realm.admin.users.findOne({ id })).toEqual(forger);
    await untouchedAfterLook();
  });
});

/** A look at the Tenant moves the record of when it was looked, and nothing else. */
async function untouchedAfterLook(): Promise<void> {
  expect(await first.person("victim")).toEqual(victim);
  const standing = z.looseObject({ row: z.unknown() });
  const { row: _now, ...now } = standing.parse(await first.everything(victim));
  const { row: _then, ...then } = standing.parse(before);
  expect(now).toEqual(then);
  before = await first.everything(victim);
}
