/** What is missing for a tenant is said on the Tenant, before the first person suffers, and heals by being fixed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ConditionType } from "../../src/api/reasons.ts";
import { SECRET_VERBS } from "../../src/api/setupCommands.ts";
import { kubectl } from "../../stack/kube.ts";
import { grantRealmManagement, SERVICE_ACCOUNT_ROLES } from "../../stack/realm.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { TenantWishes, TestTenant } from "../support/tenant.ts";

let platform: Platform;

const ROLE = "unified-rbac-secrets";

/** Each with one thing missing. */
const WISHES = {
  dropping: { realm: { profile: "DISABLED" } },
  groupless: { patch: { keycloak: { defaultGroups: ["sme-users", "/staff"] } } },
  roleless: { patch: { allow: { realmRoles: ["auditor"] } }, realm: { realmRoles: [] } },
  weak: { realm: { serviceAccountRoles: SERVICE_ACCOUNT_ROLES.filter((role) => role !== "view-clients") } },
  rightless: {},
} as const satisfies Record<string, TenantWishes>;
let tenants: Record<keyof typeof WISHES, TestTenant>;

beforeAll(async () => {
  platform = await openPlatform();
  const made = (label: keyof typeof WISHES) => platform.tenant(label, { ...WISHES[label], ready: false });
  const [dropping, groupless, roleless, weak, rightless] = await Promise.all([
    made("dropping"),
    made("groupless"),
    made("roleless"),
    made("weak"),
    made("rightless"),
  ]);
  tenants = { dropping, groupless, roleless, weak, rightless };
});
afterAll(() => platform?.close());

/** What the upstream's condition and Ready say, which is the same; whoever is committed then waits with it. */
async function complaint(tenant: TestTenant, type: ConditionType, reason: string): Promise<string> {
  const { message } = await tenant.tenantSays(type, "False", reason);
  expect((await tenant.tenantSays("Ready", "False", reason)).message).toBe(message);
  await tenant.tenantSays("Stalled", "True", reason);
  await tenant.apply("ada");
  expect((await tenant.says("ada", "Ready", "False", "TenantNotReady")).message).toContain(message);
  expect((await tenant.user("ada"))?.status?.retryCount).toBe(0);
  return message;
}

/** Once fixed, all continues without a hand. */
async function healed(tenant: TestTenant, type: ConditionType): Promise<void> {
  await tenant.tenantSays(type, "True", "Ready");
  await tenant.tenantSays("Ready", "True", "Ready");
  await tenant.person("ada");
}

describe("a Tenant says, in one named condition and one sentence,", () => {
  it("that its realm's profile drops our attributes", async () => {
    const { dropping: tenant } = tenants;
    expect(await complaint(tenant, "KeycloakReady", "AttributesDropped")).toBe(
      `The user profile of realm ${tenant.id} drops the attributes sme_tenant_id and sme_user_uuid, by which users are recognised; ` +
        `under Realm settings > General set "Unmanaged attributes" to "Only administrators can write" ` +
        `(kcadm.sh update users/profile -r ${tenant.id} -s unmanagedAttributePolicy=ADMIN_EDIT).`,
    );
    await tenant.realm.setProfile("ADMIN_EDIT");
    await healed(tenant, "KeycloakReady");
  });

  it("that a default group is missing", async () => {
    const { groupless: tenant } = tenants;
    expect(await complaint(tenant, "KeycloakReady", "MissingGroup")).toBe(
      `The default group /staff does not exist in realm ${tenant.id}; create it ` +
        `(kcadm.sh create groups -r ${tenant.id} -s name=staff), or take it out of the Tenant.`,
    );
    await tenant.realm.admin.groups.create({ name: "staff" });
    await healed(tenant, "KeycloakReady");
  });

  it("that an allowed role is missing", async () => {
    const { roleless: tenant } = tenants;
    expect(await complaint(tenant, "KeycloakReady", "MissingRole")).toBe(
      `The allowed realm role auditor does not exist in realm ${tenant.id}; create it ` +
        `(kcadm.sh create roles -r ${tenant.id} -s name=auditor), or take it out of the Tenant.`,
    );
    await tenant.realm.admin.roles.create({ name: "auditor" });
    await healed(tenant, "KeycloakReady");
  });

  it("that our service account lacks a role", async () => {
    const { weak: tenant } = tenants;
    expect(await complaint(tenant, "KeycloakReady", "MissingRole")).toBe(
      `The service account of client unified-rbac lacks the role view-clients of realm-management; grant it: kcadm.sh add-roles ` +
        `-r ${tenant.id} --uusername service-account-unified-rbac --cclientid realm-management --rolename view-clients. If it has it already, ` +
        `switch on "Full scope allowed" of client unified-rbac (Client scopes > unified-rbac-dedicated > Scope).`,
    );
    await grantRealmManagement(tenant.realm.admin, { user: tenant.realm.serviceAccountID }, ["view-clients"]);
    await healed(tenant, "KeycloakReady");
  });

  it("that our rights in its namespace are missing", async () => {
    const { rightless: tenant } = tenants;
    const role = ["role", ROLE, "-n", tenant.namespace];
    const text = await kubectl(platform.env, ["get", ...role, "-o", "yaml"]);
    await kubectl(platform.env, ["delete", ...role]);
    // A new version of its credential has the Tenant checked at once, not at the next turn.
    const credential = ["secret", `${tenant.id}-newapi`, "-n", "unified-rbac-system"];
    await kubectl(platform.env, ["annotate", ...credential, "touched=yes"]);
    expect(await complaint(tenant, "KubernetesReady", "MissingPermission")).toBe(
      `Our ServiceAccount may not ${SECRET_VERBS.map((verb) => `${verb} secrets in ${tenant.namespace}`).join(", ")}; ` +
        `apply the onboarding Role and RoleBinding in namespace "${tenant.namespace}".`,
    );
    const again = text.replace(/^ +(uid|resourceVersion):.*\n/gm, "");
    await kubectl(platform.env, ["create", "-f", "-"], again);
    await healed(tenant, "KubernetesReady");

    // Nobody looks for it now, until somebody suffers.
    await kubectl(platform.env, ["delete", ...role]);
    await tenant.apply("grace");
    await tenant.tenantSays("KubernetesReady", "False", "MissingPermission");
    await kubectl(platform.env, ["create", "-f", "-"], again);
    await tenant.tenantSays("Ready", "True", "Ready");
    await tenant.person("grace");
  });
});
