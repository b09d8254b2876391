/** Two reconcilers against one, behind a slow gateway: the same people, the other half of the waiting. */
import type { Part } from "../part.ts";
import { burst } from "../people.ts";

/** So few that two cores carry them twice over with ease: else the machine would be measured, and not the replicas. */
const FEW = { WORKERS: "4" };

export const replicas: Part = {
  name: "replicas",
  title: "Two reconcilers against one",
  async prepare(environment) {
    const { users: count, latencyMs } = environment.sizes.replicas;
    const place = await environment.place("replicas");
    const product = await place.start(FEW);
    const tenant = await place.tenant();
    await tenant.ready();
    await environment.gateway.fault({ action: { latencyMs } });

    let turn = 0;
    return {
      async run() {
        turn += 1;
        const one = await burst(environment, place, [tenant], { prefix: `one${turn}`, count });
        const second = await place.start(FEW, { id: "bench-2", roles: ["reconciler"] });
        const two = await burst(environment, place, [tenant], { prefix: `two${turn}`, count });
        await second.stop();
        return [
          {
            what: `gateway slowed to ${latencyMs} ms: people/s of two reconcilers, beside one`,
            unit: "1/s",
            ours: count / two.seconds,
            floor: count / one.seconds,
            goal: { of: "ratio", atLeast: 1.8 },
          },
        ];
      },
      async close() {
        await environment.gateway.heal();
        await product.stop();
        await place.close();
      },
    };
  },
};
