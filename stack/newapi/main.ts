import { GENERATIONS } from "./newApi/settings.ts";
import { type StandIn, startStandIn } from "./server.ts";

/**
 * The gateway's stand-in as a process: `HOST` (127.0.0.1), `PORT` (0: a free one), `ADMIN_TOKEN`, and for dialect
 * new-api `GENERATION` (2026-02, 2026-07 or 2026-08) and `LIMITS` (on or off) from the environment, one JSON line `{"listening": url}` when it is up, an end with 0 on SIGTERM or SIGINT.
 */
async function main(): Promise<void> {
  const { HOST: host = "127.0.0.1", PORT: port = "0", ADMIN_TOKEN: adminToken = "" } = process.env;
  const { GENERATION: named = "2026-07", LIMITS: limits = "off" } = process.env;
  if (adminToken === "") return fail("ADMIN_TOKEN is missing: set it to the token that admin calls must carry.");
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) return fail("PORT must be a number from 0 to 65535.");
  const generation = GENERATIONS.find((known) => known === named);
  if (generation === undefined) return fail(`GENERATION must be one of ${GENERATIONS.join(", ")}.`);
  if (limits !== "on" && limits !== "off") return fail("LIMITS must be on or off.");

  let standIn: StandIn;
  try {
    standIn = await startStandIn({ adminToken, generation, limits: limits === "on", host, port: Number(port) });
  } catch (error) {
    return fail(`It cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}.`);
  }
  process.stdout.write(`${JSON.stringify({ listening: standIn.url })}\n`);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void standIn.close());
}

function fail(sentence: string): void {
  process.stderr.write(`newapi stand-in: ${sentence}\n`);
  process.exitCode = 1;
}

await main();
