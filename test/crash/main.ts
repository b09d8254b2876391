/**
 * `make crash`: every kill point and every lost answer, each on a person of its own, on the real stack. Ends with
 * `N passed, N failed`, and writes its table into docs/reliability.md.
 *
 * Usage: node test/crash/main.ts [--short] [--seed=N] [--only=words] [--lanes=8] [--no-doc]
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { obtain, readStackEnv, startStack, stopStack } from "../../stack/index.ts";
import { type Case, describe, type Outcome, runCase } from "./cases.ts";
import { NEIGHBOURS } from "./effects.ts";
import { openGround } from "./ground.ts";
import { type Outage, runOutage } from "./outages.ts";
import { killCases, lostCases, missed, surveyCases } from "./plan.ts";
import { report } from "./report.ts";

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    seed: { type: "string" },
    only: { type: "string" },
    lanes: { type: "string", default: "8" },
    "no-doc": { type: "boolean", default: false },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
const { short } = values;
const lanes = Number(values.lanes);
const stackName = process.env["STACK_NAME"] ?? `crash-${process.pid}`;
const keepStack = process.env["STACK_NAME"] !== undefined;
const began = Date.now();
// Ids of this run: several may follow each other on one stack.
const run = (began % 46_656_000).toString(36);

async function main(): Promise<number> {
  await obtain();
  await startStack({ name: stackName });
  const env = readStackEnv(stackName);
  const logs = join(env.STACK_DIR, "logs", "crash");
  mkdirSync(logs, { recursive: true });
  const ground = await openGround(env, logs, run);
  let counter = 0;

  async function all(title: string, cases: readonly Case[]): Promise<Outcome[]> {
    console.log(`${title}: ${cases.length} cases, ${lanes} side by side`);
    const outcomes: Outcome[] = [];
    const waiting = [...cases];
    const lane = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const id = `c${run}-${(counter += 1)}`;
        const outcome = await runCase(ground, id, next);
        outcomes.push(outcome);
        if (outcome.failure !== undefined) console.log(`FAILED ${describe(next)} [${id}]\n       ${outcome.failure}`);
        else if (outcomes.length % 25 === 0) console.log(`       ${outcomes.length} of ${cases.length}`);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return outcomes;
  }

  /** One at a time: what is measured is how soon they are back. */
  async function allOutages(): Promise<Outage[]> {
    const measure = short ? { people: 50, downMs: 15_000 } : { people: 50, downMs: 60_000 };
    console.log(`Outages: ${NEIGHBOURS.length}, ${measure.downMs / 1000} s each`);
    const outages: Outage[] = [];
    for (const neighbour of NEIGHBOURS) {
      const outage = await runOutage(ground, `c${run}-${(counter += 1)}`, neighbour, measure);
      if (outage.failure !== undefined) console.log(`FAILED outage of ${neighbour}\n       ${outage.failure}`);
      outages.push(outage);
    }
    return outages;
  }

  try {
    const wanted = (one: Case): boolean => values.only === undefined || describe(one).includes(values.only);
    const survey = values.only === "outage" ? [] : await all("Undisturbed", surveyCases({ short, seed }));
    const kills = await all("Killed", killCases(survey, { short, seed }).filter(wanted));
    const losses = await all("Answers lost", lostCases(survey, { short, seed }).filter(wanted));
    const outages = values.only === undefined || values.only === "outage" ? await allOutages() : [];
    const outcomes = [...survey, ...kills, ...losses];
    const gaps = survey.length === 0 ? [] : missed(survey);
    for (const gap of gaps) console.log(`FAILED ${gap}`);
    const broken = [...outcomes, ...outages].filter(({ failure }) => failure !== undefined).length;
    const failed = broken + gaps.length;
    const text = report({
      survey,
      kills,
      losses,
      outages,
      gaps,
      seed,
      short,
      lanes,
      minutes: (Date.now() - began) / 60_000,
    });
    if (values.only === undefined && !values["no-doc"]) await text.write();
    console.log(text.table);
    console.log(`seed ${seed}`);
    console.log(`${outcomes.length + outages.length - broken} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  } finally {
    await ground.close();
    if (!keepStack) await stopStack(stackName);
  }
}

process.exit(await main());
