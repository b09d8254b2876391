import { it } from "vitest";
import { openPlatform } from "../support/platform.ts";
it("times", async () => {
  console.time("open"); const p = await openPlatform(); console.timeEnd("open");
  console.time("tenant"); const t = await p.tenant("time", {ready:false}); console.timeEnd("tenant");
  console.time("ready"); await t.tenantSays("Ready","True","Ready"); console.timeEnd("ready");
  console.time("leave"); await t.leave(); console.timeEnd("leave");
  console.time("stop"); await p.product.stop(); console.timeEnd("stop");
});
