/** Which cases there are: found by what the scenarios pass when nothing disturbs them, so that none can be forgotten. */
import type { Case, Outcome } from "./cases.ts";
import { EFFECTS, type Happening, LOOKS, upstreamOf, type Point } from "./effects.ts";
import type { GatewayKind } from "./sandbox.ts";
import { SCENARIOS } from "./scenarios.ts";
import { type Fault, FAULTS } from "./faults.ts";

export interface Choice {
  /** Of each effect the point after it, one fault for each answer, one gateway for each scenario. */
  readonly short: boolean;
  /** Each point in every scenario that passes it; else in one, by the seed's choice. */
  readonly everywhere: boolean;
  readonly seed: number;
}

export const ALL_POINTS: readonly Point[] = EFFECTS.flatMap((effect): Point[] => [
  `before:${effect}`,
  `after:${effect}`,
]);

const BOTH_DIALECTS: readonly GatewayKind[] = ["admin-v1", "new-api"];

/** Every scenario at each of its gateways; in the short form at one of them, by the seed's choice, where that will do. */
export function surveyCases({ short, seed }: Pick<Choice, "short" | "seed">): Case[] {
  const random = makeRandom(seed + 2);
  return SCENARIOS.flatMap((scenario) => {
    const { gateways = BOTH_DIALECTS, everywhere = false } = scenario;
    const drawn = short && !everywhere ? pick(gateways, random) : gateways;
    return drawn.map((gateway): Case => ({ scenario, gateway, cut: { kind: "none" } }));
  });
}

/** What a registry, a scenario or a name is missing; empty when every point was passed and every write has a name. */
export function missed(survey: readonly Outcome[]): string[] {
  const passed = new Set(survey.flatMap((outcome) => [...outcome.passed.keys()]));
  return [
    ...ALL_POINTS.filter((point) => !passed.has(point)).map((point) => `no scenario comes ${point.replace(":", " ")}`),
    ...new Set(survey.flatMap(({ unnamed }) => unnamed).map((what) => `a write that no point knows: ${what}`)),
  ];
}

/** Of effects that nobody got an answer to, the cases that came there: an upstream may have been too slow once. */
export function unanswered(survey: readonly Outcome[]): Case[] {
  const passed = new Set(survey.flatMap((outcome) => [...outcome.passed.keys()]));
  const open = EFFECTS.filter((effect) => passed.has(`before:${effect}`) && !passed.has(`after:${effect}`));
  return survey
    .filter((outcome) => open.some((effect) => outcome.passed.has(`before:${effect}`)))
    .map((outcome) => outcome.case);
}

/** In the short form after each effect alone: what was done and not recorded is where things are lost or doubled. */
export function killCases(survey: readonly Outcome[], choice: Choice): Case[] {
  const random = makeRandom(choice.seed);
  const points = choice.short ? ALL_POINTS.filter((point) => point.startsWith("after:")) : ALL_POINTS;
  return points.flatMap((at) =>
    chosen(passing(survey, at), choice, random).map((one): Case => ({ ...one, cut: { kind: "kill", at, nth: 1 } })),
  );
}

/** The same cut where else that moment was passed, in a scenario that is not among the tried; undefined: nowhere. */
export function elsewhere(
  survey: readonly Outcome[],
  { scenario, gateway, cut }: Case,
  tried: ReadonlySet<string>,
): Case | undefined {
  if (cut.kind === "none") return undefined;
  const point: Point = cut.kind === "kill" ? cut.at : `before:${cut.on}`;
  const others = passing(survey, point, cut.nth).filter((one) => !tried.has(placeOf(one)));
  // The one that comes there most often is the surest.
  const count = (one: Case): number => survey.find((outcome) => outcome.case === one)?.passed.get(point) ?? 0;
  const [surest] = others.toSorted((a, b) => count(b) - count(a));
  const next = surest ?? (tried.size < 2 ? { scenario, gateway } : undefined);
  return next && { scenario: next.scenario, gateway: next.gateway, cut };
}

export const placeOf = ({ scenario, gateway }: Pick<Case, "scenario" | "gateway">): string =>
  `${scenario.name} at ${gateway}`;

/** The first three looks at an upstream ask different questions. */
const LOOKED = [1, 2, 3];

export function lostCases(survey: readonly Outcome[], choice: Choice): Case[] {
  const random = makeRandom(choice.seed + 1);
  const cases: Case[] = [];
  for (const on of [...EFFECTS, ...LOOKS] as readonly Happening[]) {
    const looks = (LOOKS as readonly Happening[]).includes(on) ? LOOKED : [1];
    for (const fault of faultsOf(on)) {
      for (const nth of looks) {
        // One scenario for each fault: what differs is the answer, not who waits for it.
        const [one] = pick(passing(survey, `before:${on}`, nth), random);
        if (one !== undefined) cases.push({ ...one, cut: { kind: "lost", on, nth, fault } });
      }
    }
  }
  if (!choice.short) return cases;
  // One fault for each, by the seed's choice.
  const byHappening = Map.groupBy(cases, ({ cut }) => (cut.kind === "lost" ? cut.on : ""));
  return [...byHappening.values()].flatMap((group) => pick(group, random));
}

function faultsOf(on: Happening): readonly Fault[] {
  const upstream = upstreamOf(on);
  return upstream === "keycloak" || upstream === "newapi" ? FAULTS : ["drop", "hang", "truncate"];
}

/** Who comes there so often. */
function passing(survey: readonly Outcome[], point: Point, nth = 1): Case[] {
  return survey.filter(({ passed }) => (passed.get(point) ?? 0) >= nth).map((outcome) => outcome.case);
}

function chosen(cases: readonly Case[], { everywhere }: Choice, random: () => number): Case[] {
  return everywhere ? [...cases] : pick(cases, random);
}

function pick<T>(all: readonly T[], random: () => number): T[] {
  const one = all[Math.floor(random() * all.length)];
  return one === undefined ? [] : [one];
}

/** The same seed, the same plan (mulberry32). */
export function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
