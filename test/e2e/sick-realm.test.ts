/** What is behind one tenant's realm is down: its mail server, its LDAP directory. Nobody at the same Keycloak notices. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

/** Nobody listens there. */
const CLOSED_PORT = "1";
/** More than it takes to open a breaker. */
const PEOPLE = 8;

let platform: Platform;
let well: TestTenant;

beforeAll(async () => {
  // The open breakers are counted once a heartbeat.
  platform = await openPlatform({ HEARTBEAT_SECONDS: "1" });
  well = await platform.tenant("well");
});
afterAll(() => platform?.close());

const names = (label: string): readonly string[] => Array.from({ length: PEOPLE }, (_, n) => `${label}-${n + 1}`);

/** Breakers of whole origins that are open, as the product counts them. */
async function openOrigins(): Promise<number> {
  return soon(async () => {
    const answer = await fetch(`${platform.product.process("reconciler").opsURL}/metrics`);
    const line = /^unified_rbac_\w*breakers?\w*\{[^}]*"origin"[^}]*\} (\d+)$/m.exec(await answer.text());
    assert(line !== null, "the open breakers of origins are not among the metrics");
    return Number(line[1]);
  });
}

/** NewUsers of the other tenant, one after the other, while the sick one's people fail and are tried again. */
async function nobodyElseNotices(label: string): Promise<void> {
  for (const name of names(label)) {
    await well.apply(name);
    await well.person(name);
    expect(await openOrigins()).toBe(0);
  }
  const { rows } = await platform.db.query<{ failed: number }>(
    "select count(*)::int as failed from user_provision_state where sme_tenant_id = $1 and last_error is not null",
    [well.id],
  );
  expect(rows).toEqual([{ failed: 0 }]);
}

/** How many people are whole, each with an account of their own. */
async function everybodyOf(tenant: TestTenant, label: string): Promise<number> {
  const accounts = new Set<string>();
  for (const name of names(label)) accounts.add((await tenant.person(name)).keycloakID);
  return accounts.size;
}

describe("a realm whose mail server is down", () => {
  it("has everybody Ready and tells who was not invited; the other tenant's people are Ready at once", async () => {
    const sick = await platform.tenant("mailless");
    const { admin, realm } = sick.realm;
    await admin.realms.update(
      { realm },
      { smtpServer: { host: "127.0.0.1", port: CLOSED_PORT, from: "no-reply@example.org" } },
    );
    for (const name of names("uninvited")) await sick.apply(name, { invitation: "Email" });
    await nobodyElseNotices("beside-mail");
    expect(await everybodyOf(sick, "uninvited")).toBe(PEOPLE);
    for (const name of names("uninvited")) await sick.says(name, "InvitationSent", "False", "InvitationRefused");
  });
});

describe("a realm whose LDAP directory is down", () => {
  it("keeps its own people waiting and nobody else, and has them Ready when the directory is out of the way", async () => {
    const sick = await platform.tenant("directory");
    const { admin, realm } = sick.realm;
    const { id: parentId } = (await admin.realms.findOne({ realm })) ?? {};
    const { id } = await admin.components.create({
      realm,
      name: "directory",
      parentId,
      providerId: "ldap",
      providerType: "org.keycloak.storage.UserStorageProvider",
      config: {
        enabled: ["true"],
        priority: ["0"],
        editMode: ["WRITABLE"],
        syncRegistrations: ["true"],
        vendor: ["other"],
        usernameLDAPAttribute: ["uid"],
        rdnLDAPAttribute: ["uid"],
        uuidLDAPAttribute: ["entryUUID"],
        userObjectClasses: ["inetOrgPerson"],
        connectionUrl: [`ldap://127.0.0.1:${CLOSED_PORT}`],
        connectionTimeout: ["1000"],
        usersDn: ["ou=people,dc=example,dc=org"],
        authType: ["none"],
      },
    });
    for (const name of names("kept")) await sick.apply(name);
    for (const name of names("kept")) {
      await soon(async () => {
        const { rows } = await platform.db.query(
          "select 1 from user_provision_state where object_name = $1 and sme_tenant_id = $2 and last_error is not null",
          [name, sick.id],
        );
        assert.equal(rows.length, 1, `${name} has not failed yet`);
      });
    }
    await nobodyElseNotices("beside-directory");
    await admin.components.del({ realm, id });
    expect(await everybodyOf(sick, "kept")).toBe(PEOPLE);
  });
});
