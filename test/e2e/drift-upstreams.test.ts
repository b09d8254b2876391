/** What somebody changes by hand at an upstream: found at the next comparison, fixed, and at rest nothing is written. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  // As often as it looks at all, instead of every ten minutes.
  platform = await openPlatform({ DRIFT_SECONDS: "1" });
  tenant = await platform.tenant("upstreams", { patch: { allow: { groups: ["/team"], attributes: ["department"] } } });
});
afterAll(() => platform?.close());

const SPEC = { groups: ["/team"], attributes: { department: ["one"] }, displayName: "As in Git" };

const update = async ({ keycloakID: id }: Person, change: object): Promise<void> => {
  const { users } = tenant.realm.admin;
  await users.update({ id }, { ...(await users.findOne({ id })), ...change });
};

const disableAtGateway = ({ accountID }: Person) =>
  fetch(`${platform.env.NEWAPI_URL}/api/v1/admin/users/${accountID}/disable`, {
    method: "POST",
    headers: { authorization: `Bearer ${platform.env.NEWAPI_ADMIN_TOKEN}` },
  });

/** How it stands in Keycloak and at the gateway, but for the ids. */
async function standing({ uuid }: Person): Promise<unknown> {
  const users = await tenant.keycloakUsers(uuid);
  const accounts = await tenant.accounts(uuid);
  return [
    users.map(({ email, enabled, attributes, groups }) => [email, enabled, attributes, groups]),
    accounts.map(({ email, disabled, liveKeys }) => [email, disabled, liveKeys]),
  ];
}

describe.concurrent("a person", () => {
  it.each<[what: string, change: (person: Person) => Promise<unknown>, kept: readonly (keyof Person)[]]>([
    ["disabled in Keycloak", (person) => update(person, { enabled: false }), ["keycloakID", "accountID", "apiKey"]],
    [
      "renamed in Keycloak",
      (person) => update(person, { username: `x-${person.uuid}`, email: `x-${person.uuid}@example.org` }),
      ["keycloakID", "accountID", "apiKey"],
    ],
    [
      "whose attributes were changed",
      async (person) => {
        const { attributes } = (await tenant.realm.admin.users.findOne({ id: person.keycloakID })) ?? {};
        await update(person, { attributes: { ...attributes, department: ["two"], displayName: ["Somebody"] } });
      },
      ["keycloakID", "accountID", "apiKey"],
    ],
    [
      "taken out of a group",
      ({ keycloakID: id }) =>
        tenant.realm.admin.users.delFromGroup({ id, groupId: tenant.realm.groups.get("/team") ?? "" }),
      ["keycloakID", "accountID", "apiKey"],
    ],
    [
      "deleted in Keycloak",
      ({ keycloakID: id }) => tenant.realm.admin.users.del({ id }),
      ["accountID", "apiKey", "secretName"],
    ],
    ["disabled at the gateway", disableAtGateway, ["keycloakID", "accountID", "secretName"]],
    [
      "deleted at the gateway",
      ({ accountID }) => platform.gateway.removeUser(accountID),
      ["keycloakID", "secretName", "uuid"],
    ],
  ])("%s is as in Git again", async (what, change, kept) => {
    const name = what.toLowerCase().replaceAll(/[^a-z]+/g, "-");
    await tenant.apply(name, SPEC);
    const before = await tenant.person(name);
    const was = await standing(before);
    await change(before);
    expect(await standing(before)).not.toEqual(was);
    const after = await soon(async () => {
      const person = await tenant.person(name);
      assert.deepEqual(await standing(person), was);
      assert.equal(await platform.opens(person.apiKey), 200);
      return person;
    });
    for (const field of kept) expect(after[field]).toBe(before[field]);
  });
});

describe("people who are as they should be", () => {
  it("are compared without a write: not outside, not on their objects, not in the audit", async () => {
    await tenant.apply("rested", SPEC);
    await tenant.person("rested");
    const compared = async (): Promise<Date | undefined> => {
      const { rows } = await platform.db.query<{ next_at: Date }>(
        "select next_at from drift_checks where tenant_id = $1",
        [tenant.id],
      );
      return rows[0]?.next_at;
    };
    const once = async (): Promise<void> => {
      const then = await compared();
      await soon(async () => assert.notDeepEqual(await compared(), then));
    };
    const standingNow = async () => ({
      audit: (await platform.db.query("select max(seq) from audit where sme_tenant_id = $1", [tenant.id])).rows,
      object: (await tenant.user("rested"))?.metadata.resourceVersion,
      writes: (await platform.gateway.journal()).filter(({ method }) => method !== "GET").length,
    });
    await once();
    const before = await standingNow();
    await once();
    await once();
    expect(await standingNow()).toEqual(before);
  });
});
