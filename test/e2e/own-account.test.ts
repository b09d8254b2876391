/**
 * A person's whole life as that person: everything they can change with a login of their own, at Keycloak and at the
 * gateway. Each change is theirs and stays, or is found and corrected; docs/tenant-guide.md says which.
 */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { parseMasterKeys } from "../../src/lib/masterKeys.ts";
import { derive } from "../../src/gateway/dialects/new-api/masterKeys.ts";
import { newApiCaller } from "../support/newApiCaller.ts";
import { enter as enterAs, logIn, type OwnLogin } from "../support/ownLogin.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import { type Person, sha256, type TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform({ DRIFT_SECONDS: "1" });
  tenant = await platform.tenant("own", {
    values: { NEWAPI_DIALECT: "new-api", DELETION_GRACE: "0s" },
    patch: { allow: { groups: ["/team"], attributes: ["department"] } },
  });
});
afterAll(() => platform?.close());

async function enter(name: string, spec: Record<string, unknown> = {}): Promise<OwnLogin> {
  await tenant.apply(name, { firstName: "Ada", lastName: "Lovelace", ...spec });
  return enterAs(tenant, name);
}

const user = ({ keycloakID: id }: Person) => tenant.realm.admin.users.findOne({ id });

/** One comparison has passed since: what it would have found it has found. */
async function compared(): Promise<void> {
  const at = async () => {
    const { rows } = await platform.db.query<{ next_at: Date }>(
      "select next_at from drift_checks where tenant_id = $1",
      [tenant.id],
    );
    return rows[0]?.next_at.getTime() ?? 0;
  };
  for (let turn = 0; turn < 2; turn += 1) {
    const before = await at();
    await soon(async () => assert.notEqual(await at(), before));
  }
}

describe.concurrent("at Keycloak, with a login of their own, a person", () => {
  it("changes the email address: it is as in Git again, and verified", async () => {
    const { person, account } = await enter("mover");
    const answer = await account("POST", "", (own) => ({ ...own, email: `later@${tenant.id}.example` }));
    expect(answer.status).toBe(204);
    await soon(async () => {
      const found = await user(person);
      assert.equal(found?.email, tenant.email("mover"));
      assert.equal(found?.emailVerified, true);
    });
    expect((await tenant.person("mover")).uuid).toBe(person.uuid);
  });

  it("changes names that Git gives: they are as in Git again", async () => {
    const { person, account } = await enter("named");
    expect((await account("POST", "", (own) => ({ ...own, firstName: "Eve", lastName: "Moriarty" }))).status).toBe(204);
    await soon(async () => {
      const found = await user(person);
      assert.deepEqual([found?.firstName, found?.lastName], ["Ada", "Lovelace"]);
    });
  });

  it("changes names that Git does not give: they are the person's own, and stay", async () => {
    const { person, account } = await enter("unnamed", { firstName: undefined, lastName: undefined });
    expect((await account("POST", "", (own) => ({ ...own, firstName: "Eve", lastName: "Moriarty" }))).status).toBe(204);
    await compared();
    const found = await user(person);
    expect([found?.firstName, found?.lastName]).toEqual(["Eve", "Moriarty"]);
  });

  it("forges marks and attributes: they are not written", async () => {
    const { person, account } = await enter("forger", { attributes: { department: ["one"] } });
    const before = (await user(person))?.attributes;
    await account("POST", "", (own) => ({
      ...own,
      attributes: { sme_user_uuid: ["x"], sme_tenant_id: ["x"], sme_adopted: ["true"], department: ["two"] },
    }));
    await compared();
    expect((await user(person))?.attributes).toEqual(before);
  });

  it("ends sessions and keeps a password: both are the person's own", async () => {
    const { person, account } = await enter("keeper");
    expect((await account("DELETE", "sessions?current=true")).status).toBeLessThan(300);
    await compared();
    expect(await logIn(tenant, tenant.email("keeper"))).toBeDefined();
    expect(await tenant.person("keeper")).toEqual(person);
  });

  it("removes every credential: the person is locked out by choice, and nothing else changes", async () => {
    const { person, account } = await enter("remover");
    const [credential] = await tenant.realm.admin.users.getCredentials({ id: person.keycloakID });
    await account("DELETE", `credentials/${credential?.id ?? ""}`);
    await compared();
    expect(await tenant.person("remover")).toEqual(person);
  });
});

describe.concurrent("at the gateway, with a login of their own, a person", () => {
  /** As the account's own password lets in; a person gets there by single sign-on, to the same calls. */
  async function atGateway(name: string) {
    const { person } = await enter(name);
    const caller = newApiCaller(platform.env.NEWAPI_URL);
    const { username } = (await platform.gateway.newApiUsers()).find(({ id }) => String(id) === person.accountID) ?? {};
    const derived = derive(
      parseMasterKeys(`1: ${platform.env.NEWAPI_ADMIN_TOKEN}`),
      tenant.id,
      platform.env.NEWAPI_URL,
    );
    const entered = await caller.enter(username ?? "", derived.password(person.uuid, 1)?.reveal());
    expect(entered.body.success).toBe(true);
    const bearer = entered.body.data?.["access_token"];
    const session: Record<string, string> =
      typeof bearer === "string"
        ? { authorization: `Bearer ${bearer}`, "new-api-user": person.accountID }
        : { cookie: entered.headers.getSetCookie()[0]?.split(";")[0] ?? "", "new-api-user": person.accountID };
    const tokens = async () =>
      caller.items<{ id: number; name: string }>(await caller.ask("GET", "/api/token/?p=1&page_size=100", session));
    return { person, caller, session, tokens };
  }

  it("deletes the key that the Secret holds: another one is made, and the Secret has it", async () => {
    const { person, caller, session, tokens } = await atGateway("deleter");
    for (const { id } of await tokens()) await caller.ask("DELETE", `/api/token/${id}`, session);
    expect(await platform.opens(person.apiKey)).toBe(401);
    await soon(async () => {
      const now = await tenant.person("deleter");
      assert.notEqual(now.apiKey, person.apiKey);
      assert.equal(await platform.opens(now.apiKey), 200);
    });
  });

  it("makes a second key: it is the person's own, and ends when the person does", async () => {
    const { person, caller, session } = await atGateway("second");
    const { key } = await caller.keyOf(session);
    await compared();
    expect(await platform.opens(`sk-${key}`)).toBe(200);
    const [account] = await tenant.accounts(person.uuid);
    expect(account?.keySHA256).toContain(sha256(person.apiKey));
    await tenant.remove("second");
    await tenant.gone("second");
    expect(await platform.opens(`sk-${key}`)).toBe(403);
  });
});
