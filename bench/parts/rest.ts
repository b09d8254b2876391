/** What it costs that nothing happens: calls to each upstream and processor time, with everybody Ready. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Figure } from "../figures.ts";
import { type Journals, openJournals } from "../journaled.ts";
import { cpuSeconds } from "../machine.ts";
import type { Part } from "../part.ts";
import { burst } from "../people.ts";

/** Each key is tried once an interval of 10 minutes (docs/configuration.md, DRIFT_SECONDS). */
const KEY_TRIES_A_MINUTE = 0.1;
/** A page of people has 100; the interval again, and the checks of the Tenant itself. */
const KEYCLOAK_A_MINUTE = (users: number): number => 15 + users / 100;

export const rest: Part = {
  name: "rest",
  title: "At rest",
  async prepare(environment) {
    const { users, settleSeconds, seconds } = environment.sizes.rest;
    const place = await environment.place("rest");
    const installed = await place.start({}, { roles: [] });
    await installed.stop();
    const journals = await openJournals(environment);
    const tenant = await place.tenant({ keycloakURL: journals.keycloak.url, newapiURL: journals.newapi.url });
    const product = await place.start(journals.env);
    await tenant.ready();
    environment.tell(`making ${users} people`);
    await burst(environment, place, [tenant], { prefix: "r", count: users });
    environment.tell(`settling for ${settleSeconds} s`);
    await sleep(settleSeconds * 1000);

    return {
      async run() {
        const before = await counts(journals, place.db);
        const cpuBefore = cpu(product);
        await sleep(seconds * 1000);
        const after = await counts(journals, place.db);
        const spent = cpu(product) - cpuBefore;
        const perMinute = (n: number): number => (n / seconds) * 60;
        const calls = (upstream: keyof typeof before, atMost?: number): Figure => ({
          what: `at rest: calls to ${upstream}`,
          unit: "1/min",
          ours: perMinute(after[upstream] - before[upstream]),
          goal: atMost === undefined ? undefined : { of: "ours", atMost },
        });
        return [
          // One tenant namespace.
          calls("kubernetes", 10.1),
          calls("keycloak", KEYCLOAK_A_MINUTE(users)),
          calls("newapi", 5 + users * KEY_TRIES_A_MINUTE * 2),
          calls("postgres"),
          {
            what: "at rest: processor time of both",
            unit: "s/min",
            ours: perMinute(spent),
            goal: { of: "ours", atMost: 1.5 },
          },
        ];
      },
      async close() {
        await place.close();
        await journals.close();
      },
    };
  },
};

interface Processes {
  process(role: "webhook" | "reconciler"): { readonly pid: number };
}

function cpu(product: Processes): number {
  return cpuSeconds(product.process("webhook").pid) + cpuSeconds(product.process("reconciler").pid);
}

async function counts(journals: Journals, db: { query: (text: string) => Promise<{ rows: { n: string }[] }> }) {
  const { rows } = await db.query(
    "select xact_commit::text as n from pg_stat_database where datname = current_database()",
  );
  return {
    kubernetes: journals.kubernetes.calls.length,
    keycloak: journals.keycloak.calls.length,
    newapi: journals.newapi.calls.length,
    postgres: Number(rows[0]?.n ?? 0),
  };
}
