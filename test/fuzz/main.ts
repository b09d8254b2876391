/** `make fuzz`: N reviews (a million) against the webhook's way from bytes to answer, one in 50 recorded in a real Postgres. */
import { parseArgs } from "node:util";
import { makeRecord } from "../../src/admission/record.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { migrate } from "../../src/store/migrate.ts";
import { makePool } from "../../src/store/pool.ts";
import { knownTenant } from "../support/admission.ts";
import { startPostgres } from "../support/postgresServer.ts";
import { fuzz } from "./run.ts";

const { values } = parseArgs({ options: { reviews: { type: "string" }, seed: { type: "string" } } });
const reviews = Number(values.reviews ?? 1_000_000);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`${reviews} reviews, seed ${seed}\n`);

const postgres = await startPostgres();
await migrate({ url: postgres.url });
const pool = makePool({ url: postgres.url, max: 4, applicationName: "fuzz" });
const record = makeRecord({ write: (all) => recordCandidates(pool, all), clock: systemClock, log: silentLog });
const acme = knownTenant("acme");
let asked = 0;
let recorded = 0;
const result = await fuzz(reviews, seed, {
  tenants: { loaded: true, lookup: (namespace) => (namespace === "tenant-a" ? acme : undefined) },
  record: async (candidate) => {
    asked += 1;
    if (asked % 50 !== 0) return undefined;
    recorded += 1;
    return record(candidate);
  },
});
await pool.end();
await postgres.stop();
const { warm, end } = result.memory;
const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
process.stdout.write(
  `${JSON.stringify(result.outcomes)}\n` +
    `${result.reviews} reviews in ${result.seconds.toFixed(0)} s, ${recorded} of them recorded; ` +
    `at most ${result.mostMs.toFixed(1)} ms of the event loop; after a tenth and at the end held ${mib(warm.heldBytes)} and ${mib(end.heldBytes)} MiB, RSS ${mib(warm.rssBytes)} and ${mib(end.rssBytes)} MiB\n`,
);
for (const line of result.broken) process.stdout.write(`BROKEN ${line}\n`);
// Ten times as many reviews hold no more than a few did.
const grew = end.heldBytes > warm.heldBytes * 1.25;
if (grew) process.stdout.write("BROKEN memory grows with the number of reviews\n");
if (result.broken.length > 0 || result.mostMs > 100 || grew) process.exitCode = 1;
