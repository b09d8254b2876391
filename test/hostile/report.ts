/** The results as a table, for the screen and for docs/reliability.md. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { projectRoot } from "../../stack/paths.ts";
import { median } from "../crash/isolation.ts";
import { EVERYDAY, type Times } from "./calm.ts";
import type { Hostile, Phase } from "./neighborhood.ts";

/** The other tenant's everyday may take so many times as long. */
const GOAL = 2;
const FILE = join(projectRoot, "docs", "reliability.md");
const BEGIN = "<!-- hostile: begin -->";
const END = "<!-- hostile: end -->";
const RUN = "### Hostile tenant, seed ";
const RUNS = 2;

const mebibytes = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

const ratio = (phase: Phase, quiet: Times, what: keyof Times): number =>
  median(phase.times[what]) / median(quiet[what]);

/** How much slower the machine itself was. */
const floorOf = (phase: Phase, quiet: Times): number => Math.max(1, ratio(phase, quiet, "floor"));

/** Commits that the API server took, of all that were sent. */
function commitsOf({ answered }: Phase): string {
  const all = Object.entries(answered);
  const sum = (some: typeof all): number => some.reduce((total, [, count]) => total + count, 0);
  return `${sum(all.filter(([status]) => status.startsWith("2")))} of ${sum(all)} commits taken`;
}

/** Every invariant that was not kept, one sentence each. */
export function broken(result: Hostile): string[] {
  const slow = result.isJudged
    ? result.phases.flatMap((phase) =>
        EVERYDAY.filter((what) => ratio(phase, result.quiet, what) > GOAL * floorOf(phase, result.quiet)).map(
          (what) =>
            `While ${phase.name}, the other tenant's ${what} took ${ratio(phase, result.quiet, what).toFixed(2)} times as long, not ${GOAL}; the floor took ${ratio(phase, result.quiet, "floor").toFixed(2)} times as long.`,
        ),
      )
    : [];
  const large = result.memory
    .filter(({ peak, limit }) => !(peak <= limit))
    .map(({ role, peak, limit }) => `The ${role} took ${mebibytes(peak)}, not ${mebibytes(limit)}.`);
  return [...result.failures, ...slow, ...large];
}

/** Each attack counts once, and what is asked in the end once. */
export function verdicts(result: Hostile): { readonly passed: number; readonly failed: number } {
  const failures = broken(result);
  const attacks = result.phases.map(({ name }) => failures.some((failure) => failure.startsWith(`While ${name}`)));
  const rest = failures.some((failure) => !failure.startsWith("While "));
  // A phase that came to no end has no times.
  const ended = failures.filter(
    (failure) => failure.startsWith("While ") && !result.phases.some(({ name }) => failure.startsWith(`While ${name}`)),
  );
  const failed = attacks.filter(Boolean).length + (rest ? 1 : 0) + ended.length;
  return { passed: attacks.length + 1 + ended.length - failed, failed };
}

export function tables(result: Hostile): string {
  const { quiet, phases, memory, answers, seed, crowd, phaseMs } = result;
  const columns = [...EVERYDAY, "floor"] as const;
  const cells = (times: Times): string => columns.map((what) => seconds(median(times[what]))).join(" | ");
  const rows = phases.map(
    (phase) =>
      `| ${phase.name} (${commitsOf(phase)}, ${phase.times.creation.length} rounds) | ${columns.map((what) => `${seconds(median(phase.times[what]))}, ${ratio(phase, quiet, what).toFixed(2)} times`).join(" | ")} |`,
  );
  const failures = broken(result);
  return [
    `${RUN}${seed}`,
    "",
    `${phaseMs / 1000} s an attack, ${crowd} people at once. Repeat it: \`make hostile SEED=${seed}\`.`,
    "",
    `| what the hostile tenant does | ${columns.join(" | ")} |`,
    `| --- | ${columns.map(() => "---:").join(" | ")} |`,
    `| nothing (${quiet.creation.length} rounds) | ${cells(quiet)} |`,
    ...rows,
    "",
    `Its upstreams gave ${Object.values(answers).reduce((sum, count) => sum + count, 0)} answers of ${Object.keys(answers).length} hostile kinds. Peak memory: ${memory.map(({ role, peak, limit }) => `${role} ${mebibytes(peak)} of ${mebibytes(limit)}`).join(", ")}.`,
    "",
    ...(failures.length === 0
      ? ["No process ended, nothing of one tenant was shown to the other, and everybody was served in the end."]
      : ["Not kept:", "", ...failures.map((failure) => `- ${failure}`)]),
    "",
  ].join("\n");
}

/** The newest runs stay on the page. */
export async function writePage(result: Hostile): Promise<void> {
  const page = readFileSync(FILE, "utf8");
  const [head, rest] = page.split(BEGIN);
  const [middle, tail] = rest?.split(END) ?? [];
  if (head === undefined || middle === undefined || tail === undefined) {
    throw new Error(`${FILE} has lost its markers ${BEGIN} ... ${END}`);
  }
  const earlier = middle
    .split(RUN)
    .slice(1)
    .map((text) => `${RUN}${text.trim()}\n`);
  const kept = [tables(result), ...earlier].slice(0, RUNS).join("\n");
  const style = await resolveConfig(FILE);
  writeFileSync(FILE, await format(`${head}${BEGIN}\n\n${kept}\n${END}${tail}`, { ...style, parser: "markdown" }));
}
