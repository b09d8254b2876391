/** A tenant of each dialect of gateway side by side, from Git to a key that opens it. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let plain: TestTenant;
let real: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  [plain, real] = await Promise.all([
    platform.tenant("plain"),
    platform.tenant("real", { values: { NEWAPI_DIALECT: "new-api", DELETION_GRACE: "0s" } }),
  ]);
});
afterAll(() => platform?.close());

async function opens(apiKey: string): Promise<number> {
  const headers = { authorization: `Bearer ${apiKey}` };
  return (await fetch(`${platform.env.NEWAPI_URL}/v1/models`, { headers })).status;
}

describe("a tenant of each dialect", () => {
  it("takes a commit to a key that opens its gateway", async () => {
    await Promise.all([plain, real].map((tenant) => tenant.commit({ "users/ada.yaml": tenant.manifest("ada") })));
    const [one, other] = await Promise.all([plain.person("ada"), real.person("ada")]);
    expect([await opens(one.apiKey), await opens(other.apiKey)]).toEqual([200, 200]);
    expect(one.accountID).toMatch(/^usr_/);
    expect(other.accountID).toMatch(/^[0-9]+$/);
  });

  it("follows an edit without a login", async () => {
    const before = await real.person("ada");
    const since = (await platform.gateway.journal()).at(-1)?.seq ?? 0;
    await real.apply("ada", { displayName: "Ada Lovelace" });
    await real.ready("ada");
    const after = await real.person("ada");
    expect(after).toEqual(before);
    const logins = (await platform.gateway.journal(since)).filter(({ path }) => path.endsWith("/user/login"));
    expect(logins).toEqual([]);
  });

  it("rotates with both keys alive for the overlap, then with one", async () => {
    const before = await real.person("ada");
    await real.apply("ada", { key: { generation: 1, overlap: "8s" } });
    const during = await soon(async () => {
      const { status } = await real.ready("ada");
      assert.equal(status?.key?.generation, 1);
      assert(status?.key?.previousUntil !== undefined, "no previousUntil");
      return real.secret(status?.secretName ?? "");
    });
    const fresh = during?.data["api-key"] ?? "";
    expect(fresh).not.toBe(before.apiKey);
    expect([await opens(before.apiKey), await opens(fresh)]).toEqual([200, 200]);
    await soon(async () => assert.equal(await opens(before.apiKey), 401), 30_000);
    expect((await real.person("ada")).apiKey).toBe(fresh);
  });

  it("locks a person out when the manifest goes, and lets the same one in again with another key", async () => {
    const before = await real.person("ada");
    await real.remove("ada");
    await real.gone("ada");
    expect(await opens(before.apiKey)).toBe(403);
    await real.apply("ada");
    const after = await real.person("ada");
    expect([after.uuid, after.accountID]).toEqual([before.uuid, before.accountID]);
    expect([await opens(before.apiKey), await opens(after.apiKey)]).toEqual([401, 200]);
  });

  it("lets in at once whoever waits for the gateway's limit of logins when that is raised", async () => {
    const { gateway } = platform;
    const names = ["w1", "w2", "w3", "w4", "w5"];
    const reasons = async () =>
      Promise.all(
        names.map(async (name) => {
          const user = await real.user(name);
          return user?.status?.conditions?.find(({ type }) => type === "Ready")?.reason;
        }),
      );
    await gateway.newApi({ generation: "2026-08", criticalLimit: 2, criticalWindowMs: 60_000 });
    try {
      for (const name of names) await real.apply(name);
      await soon(async () => {
        const waiting = (await reasons()).filter((reason) => reason === "GatewayLimited");
        assert(waiting.length >= 3, `${waiting.length} wait`);
      });
      await gateway.newApi({ criticalLimit: 0 });
      // One comes within a quarter of the window to try, and the others with it: alone they would come one by one.
      await soon(async () => assert(!(await reasons()).includes("GatewayLimited"), "somebody waits"), 40_000);
      for (const name of names) await real.ready(name);
    } finally {
      await gateway.newApi({ generation: "2026-07", criticalLimit: 0, criticalWindowMs: 1_200_000 });
    }
  });
});
