import { describe, expect, it } from "vitest";

import type { Case, Cut, Outcome } from "../../crash/cases.ts";
import { EFFECTS, LOOKS, type Point } from "../../crash/effects.ts";
import type { GatewayKind } from "../../crash/sandbox.ts";
import { ALL_POINTS, elsewhere, killCases, lostCases, placeOf, unanswered } from "../../crash/plan.ts";
import { SCENARIOS } from "../../crash/scenarios.ts";

const [first, second, third] = SCENARIOS;
if (first === undefined || second === undefined || third === undefined) throw new Error("too few scenarios");

function seen(scenario: Case["scenario"], gateway: GatewayKind, passed: Partial<Record<Point, number>>): Outcome {
  return {
    case: { scenario, gateway, cut: { kind: "none" } },
    failure: undefined,
    hasMissed: false,
    settledMs: 0,
    passed: new Map(Object.entries(passed) as [Point, number][]),
    unnamed: [],
  };
}

const SURVEY = [
  seen(first, "admin-v1", { "before:postgres.touch": 1 }),
  seen(second, "admin-v1", { "before:postgres.touch": 2 }),
  seen(third, "new-api", { "before:postgres.touch": 5 }),
];
const lost = (nth: number): Cut => ({ kind: "lost", on: "postgres.touch", nth, fault: "drop" });
const at = (scenario: Case["scenario"], nth: number): Case => ({ scenario, gateway: "admin-v1", cut: lost(nth) });

describe("what is cut", () => {
  // One scenario passes everything often, so that nothing is left out for want of a place.
  const everywhere = Object.fromEntries(
    [...EFFECTS, ...LOOKS].flatMap((happening) => [
      [`before:${happening}`, 9],
      [`after:${happening}`, 9],
    ]),
  );
  const survey = [seen(first, "admin-v1", everywhere), seen(second, "new-api", everywhere)];
  const choice = { everywhere: false, seed: 1 };
  const pointsOf = (short: boolean): string[] =>
    killCases(survey, { ...choice, short }).map(({ cut }) => (cut.kind === "kill" ? cut.at : ""));

  it("in the short form is each effect once after it, and in the full one once on both sides", () => {
    expect(pointsOf(true)).toEqual(EFFECTS.map((effect) => `after:${effect}`));
    expect(pointsOf(false)).toEqual([...ALL_POINTS]);
  });

  it("in the short form loses one answer of everything", () => {
    const lostOf = lostCases(survey, { ...choice, short: true }).map(({ cut }) => (cut.kind === "lost" ? cut.on : ""));
    expect(lostOf.toSorted()).toEqual([...EFFECTS, ...LOOKS].toSorted());
  });
});

describe("an effect that nobody got an answer to", () => {
  it("is tried once more where it was begun, and nowhere else", () => {
    const open = seen(first, "admin-v1", { "before:keycloak.invite": 1, "before:postgres.touch": 1 });
    const answered = seen(second, "admin-v1", { "before:postgres.touch": 1, "after:postgres.touch": 1 });
    expect(unanswered([open, answered])).toEqual([open.case]);
    const later = seen(first, "admin-v1", { "before:keycloak.invite": 1, "after:keycloak.invite": 1 });
    expect(unanswered([open, answered, later])).toEqual([]);
  });
});

describe("a moment that never came", () => {
  it("is waited for where it comes most often, then elsewhere, with the same cut", () => {
    const one = at(first, 2);
    const tried = new Set([placeOf(one)]);
    const next = elsewhere(SURVEY, one, tried);
    expect(next).toEqual({ scenario: third, gateway: "new-api", cut: lost(2) });
    tried.add(placeOf(next as Case));
    expect(elsewhere(SURVEY, one, tried)).toEqual({ scenario: second, gateway: "admin-v1", cut: lost(2) });
  });

  it("is waited for in the same scenario again, where no other passes it", () => {
    const one: Case = { scenario: third, gateway: "new-api", cut: lost(3) };
    expect(elsewhere(SURVEY, one, new Set([placeOf(one)]))).toEqual(one);
  });

  it("is given up when all that pass it were tried", () => {
    const all = new Set(SURVEY.map((outcome) => placeOf(outcome.case)));
    expect(elsewhere(SURVEY, at(first, 1), all)).toBeUndefined();
  });
});
