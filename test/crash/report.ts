/** The results as a table, for the screen and for docs/reliability.md. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { projectRoot } from "../../stack/paths.ts";
import { describe, type Outcome } from "./cases.ts";
import type { Outage } from "./outages.ts";
import { EFFECTS, type Happening, NEIGHBOURS, neighbourOf } from "./effects.ts";

export interface Results {
  readonly survey: readonly Outcome[];
  readonly kills: readonly Outcome[];
  readonly losses: readonly Outcome[];
  readonly outages: readonly Outage[];
  readonly gaps: readonly string[];
  readonly seed: number;
  readonly short: boolean;
  readonly lanes: number;
  readonly minutes: number;
}

const FILE = join(projectRoot, "docs", "reliability.md");
const BEGIN = "<!-- crash: begin -->";
const END = "<!-- crash: end -->";

export function report(results: Results): { readonly table: string; write(): Promise<void> } {
  const { survey, kills, losses, outages, gaps, seed, short, lanes, minutes } = results;
  const rows = [row("Undisturbed, every scenario", survey)];
  for (const neighbour of NEIGHBOURS) {
    const here = (outcome: Outcome): boolean => {
      const { cut } = outcome.case;
      if (cut.kind === "none") return false;
      const happening = cut.kind === "kill" ? (cut.at.replace(/^(before|after):/, "") as Happening) : cut.on;
      return neighbourOf(happening) === neighbour;
    };
    rows.push(row(`Killed (SIGKILL) before and after each effect: ${neighbour}`, kills.filter(here)));
    rows.push(row(`Answer lost, late, cut or false: ${neighbour}`, losses.filter(here)));
  }
  const table = [
    "| what was tried | cases | broken promises | slowest to be right again |",
    "| --- | ---: | ---: | ---: |",
    ...rows,
    ...(outages.length === 0 ? [] : ["", ...outageTable(outages)]),
  ].join("\n");
  const failures = [...survey, ...kills, ...losses].filter(({ failure }) => failure !== undefined);
  const text = [
    BEGIN,
    "",
    `${EFFECTS.length} effects, ${EFFECTS.length * 2} kill points, ${survey.length} scenarios; ${lanes} cases side by side; ${minutes.toFixed(0)} minutes; seed ${seed}.`,
    `Repeat it: \`make crash${short ? " SHORT=1" : ""} SEED=${seed}\`; one case: \`node test/crash/main.ts --only="rotate, killed after"\`.`,
    "",
    table,
    "",
    ...(failures.length + gaps.length + outages.filter(({ failure }) => failure !== undefined).length === 0
      ? ["Nothing was lost and nothing was doubled."]
      : ["Not kept:", ""]),
    ...failures.map((outcome) => `- ${describe(outcome.case)}: ${outcome.failure}`),
    ...outages
      .filter(({ failure }) => failure !== undefined)
      .map(({ neighbour, failure }) => `- outage of ${neighbour}: ${failure}`),
    ...gaps.map((gap) => `- ${gap}`),
    "",
    END,
  ].join("\n");
  return {
    table,
    async write() {
      const page = readFileSync(FILE, "utf8");
      const [head, rest] = page.split(BEGIN);
      const tail = rest?.split(END)[1];
      if (head === undefined || tail === undefined) throw new Error(`${FILE} has lost its markers ${BEGIN} ... ${END}`);
      const style = await resolveConfig(FILE);
      writeFileSync(FILE, await format(`${head}${text}${tail}`, { ...style, parser: "markdown" }));
    },
  };
}

function row(what: string, outcomes: readonly Outcome[]): string {
  const broken = outcomes.filter(({ failure }) => failure !== undefined).length;
  const slowest = Math.max(0, ...outcomes.map(({ settledMs }) => settledMs));
  return `| ${what} | ${outcomes.length} | ${broken} | ${(slowest / 1000).toFixed(1)} s |`;
}

function outageTable(outages: readonly Outage[]): string[] {
  const seconds = (ms: number | undefined): string => (ms === undefined ? "-" : `${(ms / 1000).toFixed(1)} s`);
  return [
    "| gone for the reconciler | for | committed meanwhile | Ready without it | lost | first Ready after it was back | last |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...outages.map(
      ({ neighbour, downMs, people, readyBefore, lost, firstMs, lastMs }) =>
        `| ${neighbour} | ${seconds(downMs)} | ${people} | ${readyBefore} | ${lost} | ${seconds(firstMs)} | ${seconds(lastMs)} |`,
    ),
  ];
}
