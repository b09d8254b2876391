/** Resident memory of both processes: with nobody, with some and with many people, each freshly started and settled. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { nodeFlags } from "../../stack/product/flags.ts";
import { startChild } from "../children.ts";
import { makeCrowd, removeCrowd } from "../crowd.ts";
import type { Figure } from "../figures.ts";
import type { Environment, Place } from "../environment.ts";
import { residentMiB } from "../machine.ts";
import type { Part } from "../part.ts";

const ROLES = ["webhook", "reconciler"] as const;
type Role = (typeof ROLES)[number];
type Memory = Readonly<Record<Role, number>>;

/** What a start leaves behind V8 collects when it has had nothing to do for some ten seconds: before that it is counted too. */
const SETTLE_MS = 20_000;
/** What nobody here asks for would find people whom no upstream knows, and begin to fix. */
const WITHOUT_DRIFT = { DRIFT_SECONDS: "86400" };
const KIB_PER_MIB = 1024;

export const memory: Part = {
  name: "memory",
  title: "Memory at rest",
  async prepare(environment) {
    const place = await environment.place("memory");
    const first = await place.start(WITHOUT_DRIFT);
    const tenant = await place.tenant();
    await tenant.ready();
    await first.stop();

    const withPeople = async (count: number): Promise<Memory> => {
      await removeCrowd(environment, place);
      if (count > 0) await makeCrowd(environment, place, tenant, count);
      return ours(place);
    };

    return {
      async run() {
        const [few, many] = environment.sizes.crowds;
        const [webhook, reconciler] = await Promise.all([
          importsOnly(environment, "webhook"),
          importsOnly(environment, "reconciler"),
        ]);
        const floor = { webhook, reconciler };
        const idle = await withPeople(0);
        const some = await withPeople(few);
        const crowd = await withPeople(many);
        return [
          ...ROLES.flatMap((role): Figure[] => [
            {
              what: `${role}, nobody`,
              unit: "MiB",
              ours: idle[role],
              floor: floor[role],
              goal: { of: "added", atMost: 30 },
            },
            { what: `${role}, ${few} people`, unit: "MiB", ours: some[role], floor: floor[role] },
            { what: `${role}, ${many} people`, unit: "MiB", ours: crowd[role], floor: floor[role] },
          ]),
          {
            what: "reconciler: growth for each person",
            unit: "KiB",
            ours: ((crowd.reconciler - idle.reconciler) * KIB_PER_MIB) / many,
            goal: { of: "ours", atMost: 2 },
          },
          {
            what: "webhook: growth for each person",
            unit: "KiB",
            ours: ((crowd.webhook - idle.webhook) * KIB_PER_MIB) / many,
            goal: { of: "ours", atMost: 2 },
          },
          {
            what: "webhook: its imports alone",
            unit: "MiB",
            ours: idle.webhook,
            floor: floor.webhook,
            goal: { of: "floor", atMost: 90 },
          },
        ];
      },
      close: () => place.close(),
    };
  },
};

async function importsOnly({ dist }: Environment, role: Role): Promise<number> {
  const child = startChild("floors/imports.mjs", { dist, role }, { flags: nodeFlags() });
  try {
    await child.says(z.object({ loaded: z.string() }));
    await sleep(SETTLE_MS);
    return residentMiB(child.pid);
  } finally {
    await child.stop();
  }
}

async function ours(place: Place): Promise<Memory> {
  const product = await place.start(WITHOUT_DRIFT);
  try {
    await sleep(SETTLE_MS);
    const due = await place.db.query<{ n: number }>(
      "select count(*)::int as n from user_provision_state where due_at is not null or state <> 'done'",
    );
    if (due.rows[0]?.n !== 0) throw new Error(`${due.rows[0]?.n} people are not at rest`);
    return {
      webhook: residentMiB(product.process("webhook").pid),
      reconciler: residentMiB(product.process("reconciler").pid),
    };
  } finally {
    await product.stop();
  }
}
