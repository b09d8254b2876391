/** Finding due work: the statement of the claim against the index look-up alone, among few and many rows. */
import { claimDue } from "../../src/store/claims.ts";
import { makeRows } from "../crowd.ts";
import { type Figure, spread } from "../figures.ts";
import type { Place } from "../environment.ts";
import type { Part } from "../part.ts";

const OWNER = 1;
const WORKERS = 16;
const DUE = 100;
const TENANTS = 1_000;

const LOOK_UP = "select sme_user_uuid from user_provision_state where due_at <= now() order by due_at limit 16";

export const heartbeat: Part = {
  name: "heartbeat",
  title: "Finding due work",
  async prepare(environment) {
    const [few, many] = environment.sizes.rows;
    const small = await environment.place("heartbeat_small");
    const large = await environment.place("heartbeat_large");
    for (const [place, count] of [
      [small, few],
      [large, many],
    ] as const) {
      environment.tell(`making ${count} rows`);
      await makeRows(place.db, count, Math.min(TENANTS, count));
    }

    return {
      async run() {
        const figures: Figure[] = [];
        for (const due of [0, DUE]) {
          await makeDue(small, due);
          await makeDue(large, due);
          // In turn: whatever the machine does meanwhile, it does to both.
          const [amongFew, amongMany] = await claims([small, large], environment.sizes.lookups);
          const floor = await lookUps(large, environment.sizes.lookups);
          figures.push(
            {
              what: `claim among ${many} rows, ${due} due: p50`,
              unit: "ms",
              ours: amongMany,
              floor,
              goal: { of: "ours", atMost: 5 },
            },
            {
              what: `claim, ${due} due: time among ${many} rows over that among ${few}`,
              unit: "ratio",
              ours: amongMany / amongFew,
              goal: { of: "ours", atMost: 1.3 },
            },
          );
        }
        return figures;
      },
      async close() {
        await small.close();
        await large.close();
      },
    };
  },
};

async function makeDue({ db }: Place, count: number): Promise<void> {
  await db.query("update user_provision_state set due_at = null where due_at is not null");
  await db.query(
    `update user_provision_state set due_at = now() - interval '1 second' where sme_user_uuid in
       (select sme_user_uuid from user_provision_state order by sme_user_uuid limit $1)`,
    [count],
  );
  await db.query("vacuum user_provision_state");
}

/** The median time of a claim in each place. */
async function claims(places: readonly [Place, Place], times: number): Promise<[number, number]> {
  const [first, second] = await medians(
    places.map((place) => () => claim(place)),
    times,
  );
  return [first ?? NaN, second ?? NaN];
}

/** In milliseconds; what was claimed is given back afterwards. */
async function claim({ db }: Place): Promise<number> {
  const began = performance.now();
  const claimed = await claimDue(db, OWNER, WORKERS);
  const ms = performance.now() - began;
  if (claimed.length > 0) {
    await db.query(
      "update user_provision_state set lease_owner = null, lease_until = null where sme_user_uuid = any ($1::uuid[])",
      [claimed.map(({ row }) => row.uuid)],
    );
  }
  return ms;
}

async function lookUps({ db }: Place, times: number): Promise<number> {
  const once = async (): Promise<number> => {
    const began = performance.now();
    await db.query({ name: "look-up", text: LOOK_UP });
    return performance.now() - began;
  };
  const [median] = await medians([once], times);
  return median ?? NaN;
}

/** One of each in turn, so many times; the first few only warm up. */
async function medians(all: readonly (() => Promise<number>)[], times: number): Promise<number[]> {
  const taken = all.map((): number[] => []);
  for (let n = -5; n < times; n += 1) {
    for (const [at, once] of all.entries()) {
      const ms = await once();
      if (n >= 0) taken[at]?.push(ms);
    }
  }
  return taken.map((of) => spread(of).median);
}
