/**
 * `make soak`: chaos after chaos, each with a new seed, until the hours are over, a invariant is broken, or Ctrl-C.
 *
 * Usage: node test/crash/soak.ts [--hours=4] [--seed=N] [--seconds=180] [--people=200]
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { readStackEnv, startStack, stopNow, stopStack } from "../../stack/index.ts";
import { openEnvironment } from "./environment.ts";
import { runChaos } from "./chaos.ts";

const { values } = parseArgs({
  options: {
    hours: { type: "string", default: "4" },
    seed: { type: "string" },
    seconds: { type: "string", default: "180" },
    people: { type: "string", default: "200" },
  },
});
const stackName = process.env["STACK_NAME"] ?? `soak-${process.pid}`;
const keepStack = process.env["STACK_NAME"] !== undefined;
const began = Date.now();
const until = began + Number(values.hours) * 3_600_000;
const run = (began % 46_656_000).toString(36);

let stopping = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    console.log("ends after this chaos; once more: now");
    stopping = true;
    process.once(signal, () => (keepStack ? process.exit(130) : stopNow(stackName)));
  });
}

async function main(): Promise<number> {
  await startStack({ name: stackName });
  const env = readStackEnv(stackName);
  const logs = join(env.STACK_DIR, "logs", "crash");
  mkdirSync(logs, { recursive: true });
  const environment = await openEnvironment(env, logs, run);
  try {
    for (let n = 1; n === 1 || (Date.now() < until && !stopping); n += 1) {
      const seed = n === 1 && values.seed !== undefined ? Number(values.seed) : Math.floor(Math.random() * 1e9);
      const size = { seed, people: Number(values.people), seconds: Number(values.seconds) };
      const chaos = await runChaos(environment, `s${run}-${n}`, size);
      const settled = chaos.settledMs === undefined ? "never" : `after ${(chaos.settledMs / 1000).toFixed(1)} s`;
      console.log(`chaos ${n}, seed ${seed}: ${chaos.kills} killed, ${chaos.living} people, right ${settled}`);
      if (chaos.failures.length === 0) continue;
      for (const failure of chaos.failures) console.log(`FAILED ${failure}`);
      console.log(`again: make soak HOURS=0 SEED=${seed}`);
      return 1;
    }
    return 0;
  } finally {
    await environment.close();
    if (!keepStack) await stopStack(stackName);
  }
}

process.exit(await main());
