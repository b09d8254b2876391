/** The results as tables, for the screen and for docs/reliability.md. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { projectRoot } from "../../stack/paths.ts";
import { describe, type Outcome } from "./cases.ts";
import { EFFECTS, type Happening, UPSTREAM_NAMES, upstreamOf } from "./effects.ts";
import { type DeadOrigin, deadOriginBroken, type Isolation, isolationBroken, median } from "./isolation.ts";
import type { Outage } from "./outages.ts";
import { SCENARIOS } from "./scenarios.ts";
import { describeStalled, type StalledOutcome } from "./stalled.ts";
import type { ChaosResult } from "./chaos.ts";

/** In the order in which they run. */
export const PARTS = ["chaos", "isolation", "outages", "points", "stalled"] as const;
export type PartOfProof = (typeof PARTS)[number];

export interface Results {
  readonly chaos: ChaosResult | undefined;
  readonly isolation?: Isolation;
  readonly deadOrigin?: DeadOrigin;
  readonly outages: readonly Outage[];
  readonly survey: readonly Outcome[];
  readonly gaps: readonly string[];
  readonly kills: readonly Outcome[];
  readonly losses: readonly Outcome[];
  readonly stalled: readonly StalledOutcome[];
  /** Parts that came to no end, and why. */
  readonly errors: readonly string[];
  readonly parts: readonly string[];
  readonly seed: number;
  readonly short: boolean;
  readonly everywhere: boolean;
  readonly lanes: number;
  readonly minutes: number;
}

const FILE = join(projectRoot, "docs", "reliability.md");
const BEGIN = "<!-- crash: begin -->";
const END = "<!-- crash: end -->";
/** Between two runs, of which the page keeps the last ones. */
const RUN = "### Run with seed ";
const RUNS = 4;

const seconds = (ms: number | undefined): string => (ms === undefined ? "-" : `${(ms / 1000).toFixed(1)} s`);

/** Every invariant that was not kept, one sentence each. */
export function brokenInvariants(results: Results): string[] {
  const { chaos, isolation, deadOrigin, outages, survey, gaps, kills, losses, stalled, errors } = results;
  const said = (what: string, failure: string | undefined): string[] =>
    failure === undefined ? [] : [`${what}: ${failure}`];
  return [
    ...errors,
    ...(chaos?.failures ?? []).map((failure) => `chaos: ${failure}`),
    ...said("isolation", isolation && isolationBroken(isolation)),
    ...said("dead origin", deadOrigin && deadOriginBroken(deadOrigin)),
    ...outages.flatMap(({ upstream, failure }) => said(`outage of ${upstream}`, failure)),
    ...[...survey, ...kills, ...losses].flatMap((outcome) => said(describe(outcome.case), outcome.failure)),
    ...gaps,
    ...stalled.flatMap((outcome) => said(describeStalled(outcome.case), outcome.failure)),
  ];
}

/** Each chaos, outage and case counts once, whatever it broke. */
export function tallyOf(results: Results): { readonly passed: number; readonly failed: number } {
  const { chaos, isolation, deadOrigin, outages, survey, gaps, kills, losses, stalled, errors } = results;
  const verdicts = [
    ...(chaos === undefined ? [] : [chaos.failures.length === 0]),
    ...(isolation === undefined ? [] : [isolationBroken(isolation) === undefined]),
    ...(deadOrigin === undefined ? [] : [deadOriginBroken(deadOrigin) === undefined]),
    ...[...outages, ...survey, ...kills, ...losses, ...stalled].map(({ failure }) => failure === undefined),
    ...[...gaps, ...errors].map(() => false),
  ];
  const passed = verdicts.filter(Boolean).length;
  return { passed, failed: verdicts.length - passed };
}

/** What makes the same plan again. */
export function commandOf({ short, everywhere, seed }: Pick<Results, "short" | "everywhere" | "seed">): string {
  return `make crash${short ? " SHORT=1" : ""}${everywhere ? " EVERYWHERE=1" : ""} SEED=${seed}`;
}

export function report(results: Results): { readonly tables: string; write(): Promise<void> } {
  const { parts, seed, short, everywhere, lanes, minutes } = results;
  const set = short ? "short" : everywhere ? "widest" : "full";
  const isWhole = parts.length === PARTS.length;
  const tables = [
    ...caseTable(results),
    ...chaosTable(results.chaos),
    ...outageTable(results.outages),
    ...isolationTable(results),
  ].join("\n");
  const failures = brokenInvariants(results);
  const section = [
    `${RUN}${seed}`,
    "",
    `The ${set} set${isWhole ? "" : ` of ${parts.join(", ")}`}: ${EFFECTS.length} effects, ${EFFECTS.length * 2} kill points, ${SCENARIOS.length} scenarios; ${lanes} cases side by side; ${minutes.toFixed(0)} minutes.`,
    `Repeat it: \`${commandOf(results)}${isWhole ? "" : ` PART=${parts.join(",")}`}\`; one case: \`node test/crash/main.ts --only="rotate, killed after"\`.`,
    "",
    tables,
    "",
    ...(failures.length === 0 ? ["Nothing was lost and nothing was doubled."] : ["Not kept:", ""]),
    ...failures.map((failure) => `- ${failure}`),
    "",
  ].join("\n");
  return {
    tables,
    async write() {
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
      const kept = [section, ...earlier].slice(0, RUNS).join("\n");
      const style = await resolveConfig(FILE);
      writeFileSync(FILE, await format(`${head}${BEGIN}\n\n${kept}\n${END}${tail}`, { ...style, parser: "markdown" }));
    },
  };
}

function caseTable({ survey, kills, losses, stalled }: Results): string[] {
  if (survey.length + stalled.length === 0) return [];
  const rows = [row("Undisturbed, every scenario", survey)];
  for (const upstream of UPSTREAM_NAMES) {
    const here = (outcome: Outcome): boolean => {
      const { cut } = outcome.case;
      if (cut.kind === "none") return false;
      const happening = cut.kind === "kill" ? (cut.at.replace(/^(before|after):/, "") as Happening) : cut.on;
      return upstreamOf(happening) === upstream;
    };
    rows.push(row(`Killed (SIGKILL) before and after each effect: ${upstream}`, kills.filter(here)));
    rows.push(row(`Answer lost, late, cut or false: ${upstream}`, losses.filter(here)));
  }
  for (const [loses, words] of [
    ["lease", "until its lease was over"],
    ["connection", "and its connection to Postgres cut"],
  ] as const) {
    const here = stalled.filter((outcome) => outcome.case.loses === loses);
    rows.push(row(`Stopped (SIGSTOP) inside a step ${words}; another finished; then woken`, here));
  }
  return [
    "| what was tried | cases | broken invariants | slowest to be right again |",
    "| --- | ---: | ---: | ---: |",
    ...rows,
    "",
  ];
}

function row(
  what: string,
  outcomes: readonly { readonly failure: string | undefined; readonly settledMs: number }[],
): string {
  const broken = outcomes.filter(({ failure }) => failure !== undefined).length;
  const slowest = Math.max(0, ...outcomes.map(({ settledMs }) => settledMs));
  return `| ${what} | ${outcomes.length} | ${broken} | ${seconds(slowest)} |`;
}

function chaosTable(chaos: ChaosResult | undefined): string[] {
  if (chaos === undefined) return [];
  return [
    "| chaos | people | commits | removed | processes killed | Postgres, NATS, Keycloak restarted | left in the end | wrong | all right after |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    `| ${chaos.seconds} s, seed ${chaos.seed} | ${chaos.people} | ${chaos.commits} | ${chaos.removals} | ${chaos.kills} | ${chaos.restarts} | ${chaos.living} | ${chaos.failures.length} | ${seconds(chaos.settledMs)} |`,
    "",
  ];
}

function outageTable(outages: readonly Outage[]): string[] {
  if (outages.length === 0) return [];
  return [
    "| gone for the reconciler | for | committed meanwhile | Ready without it | lost | doubled | failed for good | first Ready after it was back (goal 2 s) | last |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...outages.map(
      ({ upstream, downMs, people, readyBefore, lost, firstMs, lastMs, ...counts }) =>
        `| ${upstream} | ${seconds(downMs)} | ${people} | ${readyBefore} | ${lost} | ${counts.doubled ?? "-"} | ${counts.stalled ?? "-"} | ${seconds(firstMs)} | ${seconds(lastMs)} |`,
    ),
    "",
  ];
}

function isolationTable({ isolation, deadOrigin }: Results): string[] {
  if (isolation === undefined || deadOrigin === undefined) return [];
  const { waiting, hungMs, quiet, meanwhile, ratio } = isolation;
  return [
    "| isolation | measured | result | goal |",
    "| --- | --- | ---: | ---: |",
    `| ${waiting} people wait for one tenant's Keycloak, which hangs for ${seconds(hungMs)} | another tenant's people, one by one: median ${seconds(median(quiet))} in quiet (${quiet.length}), ${seconds(median(meanwhile))} meanwhile (${meanwhile.length}) | ${ratio.toFixed(2)} times | 1.5 |`,
    `| ${deadOrigin.waiting} people of ${deadOrigin.tenants} tenants wait for one dead origin | calls to it by one process in ${seconds(deadOrigin.watchedMs)} | ${((deadOrigin.knocks * 1000) / deadOrigin.watchedMs).toFixed(2)} a second | 1 |`,
    "",
  ];
}
