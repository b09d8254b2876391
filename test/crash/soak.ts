/**
 * `make soak`: storm after storm, each with a new seed, until the hours are over, a promise is broken, or Ctrl-C.
 *
 * Usage: node test/crash/soak.ts [--hours=4] [--seed=N] [--seconds=180] [--people=200]
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { readStackEnv, startStack, stopNow, stopStack } from "../../stack/index.ts";
import { openGround } from "./ground.ts";
import { runStorm } from "./storm.ts";

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
    console.log("ends after this storm; once more: now");
    stopping = true;
    process.once(signal, () => (keepStack ? process.exit(130) : stopNow(stackName)));
  });
}

async function main(): Promise<number> {
  await startStack({ name: stackName });
  const env = readStackEnv(stackName);
  const logs = join(env.STACK_DIR, "logs", "crash");
  mkdirSync(logs, { recursive: true });
  const ground = await openGround(env, logs, run);
  try {
    for (let n = 1; n === 1 || (Date.now() < until && !stopping); n += 1) {
      const seed = n === 1 && values.seed !== undefined ? Number(values.seed) : Math.floor(Math.random() * 1e9);
      const size = { seed, people: Number(values.people), seconds: Number(values.seconds) };
      const storm = await runStorm(ground, `s${run}-${n}`, size);
      const settled = storm.settledMs === undefined ? "never" : `after ${(storm.settledMs / 1000).toFixed(1)} s`;
      console.log(`storm ${n}, seed ${seed}: ${storm.kills} killed, ${storm.living} people, right ${settled}`);
      if (storm.failures.length === 0) continue;
      for (const failure of storm.failures) console.log(`FAILED ${failure}`);
      console.log(`again: make soak HOURS=0 SEED=${seed}`);
      return 1;
    }
    return 0;
  } finally {
    await ground.close();
    if (!keepStack) await stopStack(stackName);
  }
}

process.exit(await main());
