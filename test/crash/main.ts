/**
 * `make crash`: every kill point and every lost answer, stopped workers, outages, isolation and chaos, on the real
 * stack. Ends with `N passed, N failed`, and writes its tables into docs/reliability.md.
 *
 * Usage: node test/crash/main.ts [--short | --everywhere] [--seed=N] [--part=chaos,outages] [--only=words] [--lanes=8] [--no-doc]
 *   [--tally=file] (where to leave how many passed and failed, and what broke, as JSON)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pLimit from "p-limit";

import { obtain, readStackEnv, startStack, stopStack } from "../../stack/index.ts";
import { stopWhenInterrupted } from "./interrupt.ts";
import { type Case, describe, type Outcome, runCase } from "./cases.ts";
import { UPSTREAM_NAMES } from "./effects.ts";
import { type Environment, openEnvironment } from "./environment.ts";
import { deadOriginBroken, isolationBroken, runDeadOrigin, runIsolation } from "./isolation.ts";
import { type Outage, runOutage, runWebhookOutage } from "./outages.ts";
import { elsewhere, killCases, lostCases, missed, placeOf, surveyCases, unanswered } from "./plan.ts";
import { brokenInvariants, commandOf, PARTS, type PartOfProof, report, type Results, tallyOf } from "./report.ts";
import { describeStalled, runStalled, stalledCases, type StalledOutcome } from "./stalled.ts";
import { runChaos, type ChaosResult } from "./chaos.ts";

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    everywhere: { type: "boolean", default: false },
    seed: { type: "string" },
    part: { type: "string" },
    only: { type: "string" },
    lanes: { type: "string", default: "8" },
    "no-doc": { type: "boolean", default: false },
    tally: { type: "string" },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
const { short, everywhere, only } = values;
const choice = { short, everywhere, seed };
const lanes = Number(values.lanes);
/** Words choose among the cases alone. */
const chosen: readonly string[] = values.part?.split(",") ?? (only === undefined ? PARTS : ["points", "stalled"]);
const SIZE = short
  ? {
      chaos: { seed, people: 200, seconds: 60 },
      outage: { people: 50, downMs: 15_000 },
      isolation: { waiting: 200, hungMs: 15_000, samples: 15, isJudged: false },
      deadOrigin: { waiting: 300, tenants: 3, watchedMs: 15_000 },
    }
  : {
      chaos: { seed, people: 200, seconds: 180 },
      outage: { people: 50, downMs: 60_000 },
      isolation: { waiting: 200, hungMs: 60_000, samples: 40, isJudged: true },
      deadOrigin: { waiting: 1000, tenants: 4, watchedMs: 60_000 },
    };

const stackName = process.env["STACK_NAME"] ?? `crash-${process.pid}`;
const keepStack = process.env["STACK_NAME"] !== undefined;
const began = Date.now();
// Ids of this run: several may follow each other on one stack.
const run = (began % 46_656_000).toString(36);
let counter = 0;
const nextID = (): string => `c${run}-${(counter += 1)}`;

function say(text: string): void {
  console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s  ${text}`);
}

function fail(what: string, failure: string | undefined): void {
  if (failure !== undefined) say(`FAILED ${what}\n         ${failure}`);
}

/** So many scenarios are tried for one moment. */
const TURNS = 4;

/** Side by side, as many as there are lanes. */
async function all<Task, Done extends { readonly failure: string | undefined; readonly hasMissed?: boolean }>(
  title: string,
  tasks: readonly Task[],
  work: (task: Task) => Promise<Done>,
  words: (task: Task) => string,
): Promise<Done[]> {
  if (tasks.length === 0) return [];
  say(`${title}: ${tasks.length} cases, ${lanes} side by side`);
  const limit = pLimit(lanes);
  let done = 0;
  return Promise.all(
    tasks.map((task) =>
      limit(async () => {
        const outcome = await work(task);
        if (outcome.hasMissed === true) say(`${words(task)}: ${outcome.failure}`);
        else fail(words(task), outcome.failure);
        if ((done += 1) % 25 === 0) say(`${done} of ${tasks.length}`);
        return outcome;
      }),
    ),
  );
}

async function theChaos(environment: Environment) {
  say(`Chaos: ${SIZE.chaos.people} people, ${SIZE.chaos.seconds} s`);
  const chaos = await runChaos(environment, nextID(), SIZE.chaos);
  for (const failure of chaos.failures) fail("chaos", failure);
  return chaos;
}

async function theIsolation(environment: Environment): Promise<Pick<Results, "isolation" | "deadOrigin">> {
  say(`Isolation: ${SIZE.isolation.waiting} wait for a Keycloak that hangs`);
  const isolation = await runIsolation(environment, nextID(), SIZE.isolation);
  fail("isolation", isolationBroken(isolation));
  say(`Dead origin: ${SIZE.deadOrigin.waiting} wait`);
  const deadOrigin = await runDeadOrigin(environment, nextID(), SIZE.deadOrigin);
  fail("dead origin", deadOriginBroken(deadOrigin));
  return { isolation, deadOrigin };
}

async function theOutages(environment: Environment): Promise<Outage[]> {
  say(`Outages: ${UPSTREAM_NAMES.length + 1}, ${SIZE.outage.downMs / 1000} s each`);
  // A whole product serves every tenant of the cluster: before there are others.
  const webhook = await runWebhookOutage(environment, nextID(), SIZE.outage);
  const inTurn = pLimit(1);
  const others = await Promise.all(
    UPSTREAM_NAMES.map((upstream) => runOutage(environment, nextID(), upstream, SIZE.outage, inTurn)),
  );
  for (const { upstream, failure } of [webhook, ...others]) fail(`outage of ${upstream}`, failure);
  return [webhook, ...others];
}

async function thePoints(environment: Environment) {
  const cases = (title: string, some: readonly Case[]): Promise<Outcome[]> =>
    all(title, some, (one) => runCase(environment, nextID(), one), describe);
  const wanted = (one: Case): boolean => only === undefined || describe(one).includes(only);
  const survey = await cases("Undisturbed", surveyCases(choice));
  const open = unanswered(survey);
  if (open.length > 0) survey.push(...(await cases("Undisturbed, once more where an answer did not come", open)));
  /** A moment that never came in the scenario that was drawn is waited for in others that pass it. */
  const reached = async (title: string, planned: readonly Case[]): Promise<Outcome[]> => {
    const trials = planned.map((one) => ({ one, tried: new Set<string>(), outcome: undefined as Outcome | undefined }));
    for (let turn = 0; turn < TURNS; turn += 1) {
      const due = trials.filter(({ outcome }) => outcome === undefined || outcome.hasMissed);
      const next = due.flatMap((trial) => {
        const one = trial.outcome === undefined ? trial.one : elsewhere(survey, trial.one, trial.tried);
        return one === undefined ? [] : [{ trial, one }];
      });
      const outcomes = await cases(
        turn === 0 ? title : `${title}, elsewhere`,
        next.map(({ one }) => one),
      );
      for (const [at, { trial, one }] of next.entries()) {
        trial.tried.add(placeOf(one));
        trial.outcome = outcomes[at];
      }
    }
    return trials.flatMap(({ outcome }) => outcome ?? []);
  };
  const gaps = missed(survey);
  for (const gap of gaps) fail("the registry of points", gap);
  const kills = await reached("Killed", killCases(survey, choice).filter(wanted));
  const losses = await reached("Answers lost", lostCases(survey, choice).filter(wanted));
  return { survey, gaps, kills, losses };
}

function theStalled(environment: Environment): Promise<StalledOutcome[]> {
  const wanted = stalledCases(choice).filter((one) => only === undefined || describeStalled(one).includes(only));
  return all("Stopped and woken", wanted, (one) => runStalled(environment, nextID(), one), describeStalled);
}

async function theProof(environment: Environment): Promise<Results> {
  const errors: string[] = [];
  /** A part that breaks off is one failure, and the others continue. */
  const part = async <T>(
    name: PartOfProof,
    otherwise: T,
    work: (environment: Environment) => Promise<T>,
  ): Promise<T> => {
    if (!chosen.includes(name)) return otherwise;
    try {
      return await work(environment);
    } catch (error) {
      errors.push(`${name} came to no end: ${error instanceof Error ? error.message : String(error)}`);
      fail(name, errors.at(-1));
      return otherwise;
    }
  };
  // First those that run the whole product: it serves every tenant of the cluster.
  const chaos = await part<ChaosResult | undefined>("chaos", undefined, theChaos);
  const apart = await part("isolation", {}, theIsolation);
  const outages = await part("outages", [], theOutages);
  // Those who are stopped do nothing but wait for most of their time.
  const [points, stalled] = await Promise.all([
    part("points", { survey: [], gaps: [], kills: [], losses: [] }, thePoints),
    part("stalled", [], theStalled),
  ]);
  const minutes = (Date.now() - began) / 60_000;
  return { chaos, ...apart, outages, ...points, stalled, errors, parts: chosen, ...choice, lanes, minutes };
}

async function main(): Promise<number> {
  for (const part of chosen) {
    if (!(PARTS as readonly string[]).includes(part)) throw new Error(`--part has no ${part}: ${PARTS.join(", ")}`);
  }
  console.log(`seed ${seed}`);
  await obtain();
  await startStack({ name: stackName });
  const env = readStackEnv(stackName);
  const logs = join(env.STACK_DIR, "logs", "crash");
  mkdirSync(logs, { recursive: true });
  try {
    const environment = await openEnvironment(env, logs, run);
    try {
      const results = await theProof(environment);
      const text = report(results);
      if (only === undefined && !values["no-doc"]) await text.write();
      console.log(text.tables);
      const { passed, failed } = tallyOf(results);
      const broken = brokenInvariants(results);
      if (values.tally !== undefined) writeFileSync(values.tally, JSON.stringify({ passed, failed, broken }));
      for (const invariant of broken) console.log(`FAILED ${invariant}`);
      console.log(`seed ${seed}: again with ${commandOf(choice)}`);
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
