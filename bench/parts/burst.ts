/** Many people at once, from the first apply sent to the last one Ready. */
import type { Figure } from "../figures.ts";
import type { BenchTenant } from "../environment.ts";
import type { Part } from "../part.ts";
import { bestConcurrency, burst as burstOf, floorPeople } from "../people.ts";

export const burst: Part = {
  name: "burst",
  title: "Many people at once",
  async prepare(environment) {
    const { sizes } = environment;
    const place = await environment.place("burst");
    await place.start();
    const tenants: BenchTenant[] = [];
    for (let n = 0; n < sizes.burstTenants; n += 1) tenants.push(await place.tenant());
    await Promise.all(tenants.map((tenant) => tenant.ready()));
    const [first] = tenants;
    if (first === undefined) throw new Error("a burst needs a tenant");
    const concurrency = await bestConcurrency(environment, first, Math.min(100, sizes.bursts[0]));
    environment.tell(`the floor is fastest with ${concurrency} at once`);

    let turn = 0;
    return {
      async run() {
        const figures: Figure[] = [];
        const perSecond: number[] = [];
        turn += 1;
        // The large one takes minutes: once.
        for (const count of turn === 1 ? sizes.bursts : sizes.bursts.slice(0, 1)) {
          const prefix = `b${turn}-${count}`;
          const ours = await burstOf(environment, place, tenants, { prefix, count });
          const floor = await floorPeople(environment, first, { prefix, count, concurrency });
          perSecond.push(count / ours.seconds);
          figures.push(
            {
              what: `${count} at once: people/s to Ready`,
              unit: "1/s",
              ours: count / ours.seconds,
              floor: count / floor.seconds,
              goal: { of: "ratio", atLeast: 0.6 },
            },
            {
              what: `${count} at once: people/s, where the floor applies the objects too`,
              unit: "1/s",
              ours: count / ours.seconds,
              floor: count / (floor.seconds + floor.applySeconds),
            },
          );
        }
        const [few = 0, many] = perSecond;
        if (many === undefined) return figures;
        figures.push({
          what: `${sizes.bursts[1]} at once: rate over that of ${sizes.bursts[0]}`,
          unit: "ratio",
          ours: many / few,
          goal: { of: "ours", atLeast: 0.95 },
        });
        return figures;
      },
      close: () => place.close(),
    };
  },
};
