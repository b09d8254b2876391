/**
 * `make bench`: every figure beside its floor, on the real stack; a table at the end, bench/results/*.json, and, when all
 * of it was measured at full scale, docs/performance.md.
 *
 * Usage: node bench/main.ts [--only=admission,burst] [--runs=3] [--no-doc]; SCALE=tiny shows that it works.
 */
import { parseArgs } from "node:util";

import { obtain, readStackEnv, startStack, stopStack, stopStackWhenInterrupted } from "../stack/index.ts";
import { type Figure, type Row, rowsOf } from "./figures.ts";
import { type Environment, openEnvironment } from "./environment.ts";
import { thisMachine } from "./machine.ts";
import type { Part } from "./part.ts";
import { parts } from "./parts/index.ts";
import { table, writePage, writeResults } from "./report.ts";
import { isScale, SIZES } from "./sizes.ts";
import { versionsOf } from "./versions.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, runs: { type: "string" }, "no-doc": { type: "boolean", default: false } },
});
const scale = process.env["SCALE"] ?? "full";
if (!isScale(scale)) throw new Error(`SCALE is one of ${Object.keys(SIZES).join(", ")}`);
const wanted = values.only?.split(",");
const unknown = wanted?.filter((name) => !parts.some((part) => part.name === name)) ?? [];
if (unknown.length > 0) {
  console.error(`There is no part ${unknown.join(", ")}; there are ${parts.map(({ name }) => name).join(", ")}.`);
  process.exit(2);
}
const stackName = process.env["STACK_NAME"] ?? `bench-${process.pid}`;
const keepStack = process.env["STACK_NAME"] !== undefined;
const sizes = SIZES[scale];
const runs = values.runs === undefined ? sizes.runs : Number(values.runs);

if (!keepStack) stopStackWhenInterrupted(stackName);

const began = Date.now();
const since = (): string => `${((Date.now() - began) / 1000).toFixed(0)} s`.padStart(7);
const tell = (what: string): void => console.log(`${since()}  ${what}`);

interface Measured {
  readonly rows: readonly Row[];
  readonly failure?: string;
}

/** A part that fails takes no other with it. */
async function measure(environment: Environment, part: Part): Promise<Measured> {
  tell(`${part.name}: ${part.title}`);
  const figures: (readonly Figure[])[] = [];
  try {
    const prepared = await part.prepare(environment);
    try {
      for (let run = 1; run <= runs; run += 1) {
        tell(`  run ${run} of ${runs}`);
        figures.push(await prepared.run());
      }
    } finally {
      await prepared.close();
    }
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    console.error(`FAILED ${part.name}: ${error instanceof Error ? (error.stack ?? failure) : failure}`);
    return { rows: rowsOf(part.name, figures), failure };
  }
  return { rows: rowsOf(part.name, figures) };
}

async function main(): Promise<number> {
  const machine = thisMachine();
  await obtain();
  await startStack({ name: stackName });
  const environment = await openEnvironment(readStackEnv(stackName), sizes, tell);
  const rows: Row[] = [];
  const failures: { part: string; why: string }[] = [];
  const seconds: Record<string, number> = {};
  const versions = await versionsOf(environment);
  try {
    for (const part of parts) {
      if (wanted !== undefined && !wanted.includes(part.name)) continue;
      const partBegan = Date.now();
      const measured = await measure(environment, part);
      seconds[part.name] = Math.round((Date.now() - partBegan) / 1000);
      rows.push(...measured.rows);
      if (measured.failure !== undefined) failures.push({ part: part.name, why: measured.failure });
      if (measured.rows.length > 0) console.log(await table(measured.rows));
    }
  } finally {
    environment.close();
    if (!keepStack) await stopStack(stackName);
  }
  const results = {
    at: new Date(began).toISOString(),
    scale,
    minutes: (Date.now() - began) / 60_000,
    seconds,
    machine,
    versions,
    rows,
    failures,
  };
  console.log(await table(rows));
  const file = writeResults(results, wanted === undefined);
  if (wanted === undefined && scale === "full" && !values["no-doc"]) await writePage(results, file);
  const missed = rows.filter(({ met }) => met === false).length;
  tell(`${rows.length} rows, ${missed} goals missed, ${failures.length} parts failed; ${file}`);
  return failures.length === 0 ? 0 : 1;
}

process.exit(await main());
