/** What the Tenant does not name under `allow` never reaches Keycloak, the gateway or a Secret: not by an edit either. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ANNOTATION_REQUESTED_AT } from "../../src/api/meta.ts";
import { grantRealmManagement } from "../../stack/realm.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
/** Allows nothing. */
let strict: TestTenant;
/** Allows a group or two. */
let careless: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  [strict, careless] = await Promise.all([
    platform.tenant("strict"),
    platform.tenant("careless", { patch: { allow: { groups: ["/team", "/quiet"], realmRoles: ["auditor"] } } }),
  ]);
  const { admin } = strict.realm;
  const { id } = await admin.groups.create({ name: "realm-admins" });
  await grantRealmManagement(admin, { group: id }, ["realm-admin"]);
  await admin.roles.create({ name: "foreign" });
});
afterAll(() => platform?.close());

/** At the upstreams: what a refusal moves is its own record alone. */
async function outside(tenant: TestTenant, person: Person): Promise<object> {
  const { row: _row, ...all } = (await tenant.everything(person)) as { row: unknown };
  return all;
}

const REFLECTOR = "reflector.v1.k8s.emberstack.com/reflection-allowed";

describe.concurrent("a person who is Ready is not given, by an edit,", () => {
  it.each<[what: string, spec: Record<string, unknown>, named: string]>([
    ["a group of administrators", { groups: ["/realm-admins"] }, "/realm-admins"],
    ["one more group beside a default one", { groups: ["/sme-users", "/realm-admins"] }, "/realm-admins"],
    ["a foreign realm role", { realmRoles: ["foreign"] }, "foreign"],
    ["the role of all administrators", { realmRoles: ["admin"] }, "admin"],
    ["the realm's default roles under their own name", { realmRoles: ["default-roles"] }, "default-roles"],
    ["an attribute that a mapper may read", { attributes: { policy: ["superuser"] } }, "policy"],
    ["a higher tier", { newapi: { tier: "vip" } }, "vip"],
    ["a quota", { newapi: { quota: 1 } }, "1"],
    ["a Secret under the name of something else", { secret: { name: "tenant-git" } }, "tenant-git"],
    ["a Secret that is reflected elsewhere", { secret: { annotations: { [REFLECTOR]: "true" } } }, REFLECTOR],
    [
      "a Secret with a label that others select by",
      { secret: { labels: { "argocd.example/x": "y" } } },
      "argocd.example/x",
    ],
  ])("%s", async (what, spec, named) => {
    const name = what.toLowerCase().replaceAll(/[^a-z]+/g, "-");
    await strict.apply(name);
    const person = await strict.person(name);
    const before = await outside(strict, person);
    await strict.apply(name, { ...spec, displayName: "Refused as a whole" });
    const { message } = await strict.says(name, "Stalled", "True", "NotAllowed");
    expect(message).toContain(JSON.stringify(named));
    expect(await outside(strict, person)).toEqual(before);
    // Asked for again, it is refused again.
    await strict.annotate(name, { [ANNOTATION_REQUESTED_AT]: "now" });
    await strict.says(name, "Stalled", "True", "NotAllowed");
    expect(await outside(strict, person)).toEqual(before);
    await strict.apply(name);
    expect(await strict.person(name)).toEqual(person);
  });
});

describe("a group that the Tenant allows, and that makes administrators by now,", () => {
  it("is named on the Tenant, is given to nobody, and whoever has it is not ours to change", async () => {
    const { admin, groups } = careless.realm;
    await careless.apply("member", { groups: ["/team"] });
    await careless.apply("plain");
    const [member, plain] = [await careless.person("member"), await careless.person("plain")];
    const before = await outside(careless, plain);
    await grantRealmManagement(admin, { group: groups.get("/team") ?? "" }, ["manage-users"]);

    // Another word in the spec has the Tenant looked at again at once, and not a minute later.
    await careless.change({ allow: { groups: ["/team", "/quiet"], realmRoles: [] } });
    const { message } = await careless.tenantSays("KeycloakReady", "False", "PrivilegedGrant");
    expect(message).toContain("/team");
    await careless.tenantSays("Ready", "False", "PrivilegedGrant");
    await careless.apply("plain", { groups: ["/team"] });
    await careless.apply("late", { groups: ["/team"] });
    for (const name of ["plain", "late"]) await careless.says(name, "Ready", "False", "TenantNotReady");
    expect(await outside(careless, plain)).toEqual(before);

    await careless.change({ allow: { groups: ["/quiet"] } });
    await careless.tenantSays("Ready", "True", "Ready");
    for (const name of ["plain", "late"]) await careless.says(name, "Stalled", "True", "NotAllowed");
    expect(await outside(careless, plain)).toEqual(before);
    expect(await admin.users.find({ email: careless.email("late") })).toEqual([]);

    // By the platform's hand this one is an administrator.
    const then = await outside(careless, member);
    await careless.apply("member");
    expect((await careless.says("member", "Stalled", "True", "NotAllowed")).message).toBe(
      `Keycloak user ${member.keycloakID} is an administrator of the realm (realm-management: manage-users); nothing was changed.`,
    );
    expect(await outside(careless, member)).toEqual(then);
    await admin.groups.del({ id: groups.get("/team") ?? "" });
    await careless.annotate("member", { [ANNOTATION_REQUESTED_AT]: "fixed" });
    expect(await careless.person("member")).toEqual(member);
  });
});

describe("what the Tenant allows no longer", () => {
  it("stalls who has it, takes nothing from them unasked, and goes when it is taken out of the manifest", async () => {
    await careless.apply("quiet", { groups: ["/quiet"] });
    const quiet = await careless.person("quiet");
    await careless.change({ allow: { groups: [] } });
    await careless.says("quiet", "Stalled", "True", "NotAllowed");
    await careless.apply("quiet");
    expect(await careless.person("quiet")).toEqual(quiet);
    expect((await careless.keycloakUsers(quiet.uuid))[0]?.groups).toEqual(["/sme-users"]);
  });
});
