/** What one person costs in calls, statements and bytes: counts, which no busy machine blurs. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";

import { statementJournal } from "../../test/support/statementJournal.ts";
import type { Unit } from "../figures.ts";
import type { Place } from "../environment.ts";
import { type Journals, openJournals } from "../journaled.ts";
import type { Part } from "../part.ts";
import { burst } from "../people.ts";

/** Long enough that the first person's token and look-ups do not count for much. */
const PEOPLE = 20;

export const calls: Part = {
  name: "calls",
  title: "One person in calls and bytes",
  async prepare(environment) {
    const place = await environment.place("calls");
    await (await place.start({}, { roles: [] })).stop();
    const journals = await openJournals(environment);
    const statements = await statementJournal(place.databaseURL);
    const tenant = await place.tenant({ keycloakURL: journals.keycloak.url, newapiURL: journals.newapi.url });
    await place.start({ ...journals.env, DATABASE_URL: statements.url });
    await tenant.ready();
    await burst(environment, place, [tenant], { prefix: "warm", count: 1 });

    let turn = 0;
    return {
      async run() {
        const before = await counts(journals, statements.syncs(), place);
        await burst(environment, place, [tenant], { prefix: `n${(turn += 1)}`, count: PEOPLE });
        // What follows: events sent, watches answered.
        await sleep(2_000);
        const after = await counts(journals, statements.syncs(), place);
        const row = (what: keyof typeof before, unit: Unit, floor?: number) => ({
          what: `one person: ${what}`,
          unit,
          ours: (after[what] - before[what]) / PEOPLE,
          floor,
        });
        return [
          row("calls to the API server", "count", 2),
          row("of these, writes", "count", 2),
          row("calls to Keycloak", "count", 1),
          row("calls to the gateway", "count", 1),
          row("round trips to Postgres", "count"),
          row("commits", "count"),
          row("log of Postgres", "KiB"),
          row("rows of Postgres with their indexes", "KiB"),
        ];
      },
      async close() {
        await place.close();
        await statements[Symbol.asyncDispose]();
        await journals.close();
      },
    };
  },
};

async function counts({ kubernetes, keycloak, newapi }: Journals, syncs: number, place: Place) {
  const database = await storage(place.db);
  return {
    "calls to the API server": kubernetes.calls.length,
    "of these, writes": kubernetes.calls.filter(({ method }) => method !== "GET").length,
    "calls to Keycloak": keycloak.calls.length,
    "calls to the gateway": newapi.calls.length,
    "round trips to Postgres": syncs,
    ...database,
  };
}

async function storage(db: Pool) {
  const { rows } = await db.query<{ commits: string; wal: string; bytes: string }>(
    `select xact_commit::text as commits, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text as wal,
       (pg_total_relation_size('user_provision_state') + pg_total_relation_size('audit') + pg_total_relation_size('outbox'))::text as bytes
     from pg_stat_database where datname = current_database()`,
  );
  const [row] = rows;
  return {
    commits: Number(row?.commits),
    "log of Postgres": Number(row?.wal) / 1024,
    "rows of Postgres with their indexes": Number(row?.bytes) / 1024,
  };
}
