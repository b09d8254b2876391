/** One person after another, each from the answer of the apply to the observation of Ready. */
import { API_VERSION } from "../../src/api/meta.ts";
import { spread } from "../figures.ts";
import type { BenchTenant, Environment } from "../environment.ts";
import { applyRequest } from "../kube.ts";
import type { Part } from "../part.ts";
import { floorPeople } from "../people.ts";
import { isReady, type Sights, sightsOf } from "../ready.ts";

export const user: Part = {
  name: "user",
  title: "One person, applied to Ready",
  async prepare(environment) {
    const place = await environment.place("user");
    await place.start();
    const tenant = await place.tenant();
    await tenant.ready();
    const stop = new AbortController();
    const seen = sightsOf(environment.kube, tenant.path, isReady, stop.signal);
    // What is made at the first one (connections, a token) is there for all others.
    await one(environment, tenant, seen, "warm");

    let turn = 0;
    return {
      async run() {
        const prefix = `u${(turn += 1)}`;
        const count = environment.sizes.singles;
        const times: number[] = [];
        for (let n = 0; n < count; n += 1) times.push(await one(environment, tenant, seen, `${prefix}-${n}`));
        const floor = await floorPeople(environment, tenant, { prefix, count, concurrency: 1 });
        return [
          {
            what: `one person, applied to Ready: p50 of ${count}`,
            unit: "ms",
            ours: spread(times).median,
            floor: floor.p50,
            goal: { of: "ratio", atMost: 3 },
          },
        ];
      },
      async close() {
        stop.abort();
        await place.close();
      },
    };
  },
};

async function one({ api }: Environment, tenant: BenchTenant, seen: Sights, name: string): Promise<number> {
  const observation = seen(name);
  await api.send(applyRequest(tenant.path, name, `${name}@bench.example`, API_VERSION, "TenantUser"));
  const from = performance.timeOrigin + performance.now();
  return Math.max(0, (await observation) - from);
}
