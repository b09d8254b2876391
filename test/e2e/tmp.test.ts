import { afterAll, beforeAll, it, assert } from "vitest";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";
let platform: Platform; let tenant: TestTenant;
beforeAll(async () => { platform = await openPlatform(); tenant = await platform.tenant("drift"); });
afterAll(() => platform?.close());
it("edits", { timeout: 200000 }, async () => {
  for (let n = 0; n < 12; n++) {
    await tenant.apply(`p${n}`);
    const before = await tenant.person(`p${n}`);
    const t0 = performance.now();
    const r = await platform.api.send("PATCH", `/api/v1/namespaces/${tenant.namespace}/secrets/${before.secretName}`, { data: { "api-key": Buffer.from("x").toString("base64") } }, "application/merge-patch+json");
    const at = new Date().toISOString();
    await soon(async () => { const s = await tenant.secret(before.secretName); assert.equal(s?.data["api-key"], before.apiKey); });
    console.log(n, r.status, at, Math.round(performance.now() - t0));
  }
});
