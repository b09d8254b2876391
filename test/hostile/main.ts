/**
 * `make hostile`: two tenants on the real stack; one commits whatever does harm and runs hostile upstreams, the other one's
 * everyday is timed all the while. Ends with `N passed, N failed`.
 *
 * Usage: node test/hostile/main.ts [--short] [--seed=N] [--only=words] [--no-doc] [--tally=file]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { obtain, readStackEnv, startStack, stopStack } from "../../stack/index.ts";
import { stopWhenInterrupted } from "../crash/interrupt.ts";
import { openEnvironment } from "../crash/environment.ts";
import { runHostile, type Size } from "./neighborhood.ts";
import { broken, tables, verdicts, writePage } from "./report.ts";

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    seed: { type: "string" },
    only: { type: "string" },
    "no-doc": { type: "boolean", default: false },
    tally: { type: "string" },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
const size: Size = values.short
  ? { crowd: 150, phaseMs: 6_000, rounds: 2, isJudged: false }
  : { crowd: 3_000, phaseMs: 40_000, rounds: 10, isJudged: true };

const stackName = process.env["STACK_NAME"] ?? `hostile-${process.pid}`;
const keepStack = process.env["STACK_NAME"] !== undefined;
const began = Date.now();
const say = (text: string): void => console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s  ${text}`);

async function main(): Promise<number> {
  console.log(`seed ${seed}`);
  await obtain();
  await startStack({ name: stackName });
  const env = readStackEnv(stackName);
  const logs = join(env.STACK_DIR, "logs", "hostile");
  mkdirSync(logs, { recursive: true });
  const run = (began % 46_656_000).toString(36);
  try {
    const environment = await openEnvironment(env, logs, run);
    try {
      const result = await runHostile(environment, `s${run}-1`, { ...size, seed, only: values.only }, say);
      console.log(tables(result));
      if (!values["no-doc"] && values.only === undefined) await writePage(result);
      const failures = broken(result);
      const { passed, failed } = verdicts(result);
      if (values.tally !== undefined) writeFileSync(values.tally, JSON.stringify({ passed, failed, broken: failures }));
      for (const failure of failures) console.log(`FAILED ${failure}`);
      console.log(`seed ${seed}: again with make hostile${values.short ? " SHORT=1" : ""} SEED=${seed}`);
      console.log(`${passed} passed, ${failed} failed`);
      return failed === 0 ? 0 : 1;
    } finally {
      await environment.close();
    }
  } finally {
    if (!keepStack) await stopStack(stackName);
  }
}

stopWhenInterrupted(stackName, keepStack);

process.exit(await main());
