/** The table, for the screen and for docs/performance.md; and the file of one run. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { format, resolveConfig } from "prettier";

import { projectRoot } from "../stack/paths.ts";
import { agreement } from "./agreement.ts";
import type { Goal, Row, Spread, Unit } from "./figures.ts";
import type { Machine } from "./machine.ts";

export interface Results {
  /** RFC 3339. */
  readonly at: string;
  readonly scale: string;
  readonly minutes: number;
  /** Of each part. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly machine: Machine;
  /** By part of the stack, and the commit that was measured. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
  /** Parts that gave no figures, and why. */
  readonly failures: readonly { readonly part: string; readonly why: string }[];
}

const PAGE = join(projectRoot, "docs", "performance.md");
const FOLDER = join(projectRoot, "bench", "results");
const BEGIN = "<!-- bench: begin -->";
const END = "<!-- bench: end -->";

/** Markdown, which reads well on a screen too once prettier has set its columns. */
export async function table(rows: readonly Row[]): Promise<string> {
  const lines = [
    "| what | ours | floor | ratio | goal | |",
    "| --- | ---: | ---: | ---: | ---: | --- |",
    ...rows.map(line),
  ];
  return format(lines.join("\n"), { parser: "markdown", printWidth: 120 });
}

function line({ what, unit, ours, floor, ratio, goal, met }: Row): string {
  const cells = [
    what,
    shown(ours, unit),
    floor === undefined ? "" : shown(floor, unit),
    ratio === undefined ? "" : shown(ratio, "ratio"),
    goal === undefined ? "" : goalText(goal, unit),
    met === undefined ? "" : met ? "met" : "**missed**",
  ];
  return `| ${cells.join(" | ")} |`;
}

/** The median, and how far the runs lie apart. */
function shown({ median, least, most }: Spread, unit: Unit): string {
  const suffix = unit === "ratio" || unit === "count" ? "" : unit.startsWith("1/") ? unit.slice(1) : ` ${unit}`;
  const range = least === most ? "" : ` (${number(least)} to ${number(most)})`;
  return `${number(median)}${suffix}${range}`;
}

function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function goalText({ of, atLeast, atMost }: Goal, unit: Unit): string {
  const bound = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
  const suffix = unit === "ratio" || unit === "count" ? "" : unit.startsWith("1/") ? unit.slice(1) : ` ${unit}`;
  switch (of) {
    case "ratio":
      return `ratio ${bound}`;
    case "added":
      return `floor + ${atMost}${suffix}`;
    case "floor":
      return `floor ${bound}${suffix}`;
    case "ours":
      return `${bound}${suffix}`;
    default:
      return of satisfies never;
  }
}

/** Gives the file's path, relative to the project. `isWhole`: no part was left out. */
export function writeResults(results: Results, isWhole: boolean): string {
  mkdirSync(FOLDER, { recursive: true });
  const name = `${results.at.slice(0, 16).replaceAll(":", "")}-${results.scale}${isWhole ? "" : "-parts"}.json`;
  const file = join(FOLDER, name);
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  return relative(projectRoot, file);
}

/** The newest whole run of an earlier day, if its file is still there. */
export function lastOfAnotherDay(at: string): Results | undefined {
  const file = readdirSync(FOLDER)
    .filter((name) => name.endsWith("-full.json") && name.slice(0, 10) < at.slice(0, 10))
    .toSorted()
    .at(-1);
  return file === undefined ? undefined : (JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Results);
}

/** Markdown: how far a whole run says what one of another day said. */
export function comparison(before: Results, now: Results): string[] {
  const { compared, apart, verdicts } = agreement(before.rows, now.rows);
  const whose = `the run of ${before.at.slice(0, 10)} (commit ${before.versions["commit"] ?? "unknown"})`;
  const verdict = verdicts.length === 0 ? "" : ` Another verdict: ${verdicts.join("; ")}.`;
  return [
    `Beside ${whose}: of ${compared} rows that both measured several times, ${compared - apart.length} agree within the spreads printed.${verdict}`,
    "",
    ...apart.map((each) => `- ${each.what}: ${shown(each.now, each.unit)}, before ${shown(each.before, each.unit)}`),
  ];
}

/** Puts the table of a whole run between the markers of the page. */
export async function writePage(results: Results, file: string): Promise<void> {
  const page = readFileSync(PAGE, "utf8");
  const [head, rest] = page.split(BEGIN);
  const tail = rest?.split(END)[1];
  if (head === undefined || tail === undefined) throw new Error(`${PAGE} has lost its markers ${BEGIN} ... ${END}`);
  const style = await resolveConfig(PAGE);
  const before = lastOfAnotherDay(results.at);
  const compared = before === undefined ? [] : ["", ...comparison(before, results)];
  const text = [BEGIN, "", ...sentences(results, file), "", await table(results.rows), ...compared, "", END].join("\n");
  writeFileSync(PAGE, await format(`${head}${text}${tail}`, { ...style, parser: "markdown" }));
}

function sentences({ at, minutes, machine, versions, failures, rows }: Results, file: string): string[] {
  const { cpu, cores, memoryGiB, kernel, node, loadBefore } = machine;
  const runs = Math.max(0, ...rows.map((row) => row.runs.length));
  const parts = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${at.slice(0, 10)}, ${minutes.toFixed(0)} minutes; ${runs} runs, median (least to most). ${cores} cores of ${cpu}, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}; load before: ${loadBefore.join(", ")}.`,
    `${parts.join(", ")}. As data: [${file}](../${file}).`,
    ...failures.map(({ part, why }) => `\nNot measured: ${part} (${why}).`),
  ];
}
