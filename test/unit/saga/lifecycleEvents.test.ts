import { expect, test } from "vitest";
import { finishedEvents } from "../../../src/saga/lifecycleEvents.ts";
import type { Rotation, Run } from "../../../src/saga/row.ts";
import { doneRow, NOW } from "../../support/builders.ts";

const run: Run = { reason: "rotate", generation: 1, step: "secret", attempt: 0, done: true, rotated: true };
const idOf = (keyGeneration: number, rotation: Rotation) =>
  finishedEvents(doneRow({ keyGeneration }), run, rotation, NOW).find(({ type }) => type === "sme.user.key-rotated")
    ?.id;

test("one rotation has one id, and no other rotation has it", () => {
  const at = (minute: number) => `2026-05-01T12:0${minute}:00.000Z`;
  const rotations: [number, Rotation][] = [
    [1, { toGeneration: 1 }],
    [2, { toGeneration: 2 }],
    // Asked for by the annotation; its value may come again, and a returning person is rotated within a generation.
    [2, { toGeneration: 2, requestedAt: "t1", at: at(1) }],
    [2, { toGeneration: 2, requestedAt: "t2", at: at(2) }],
    [2, { toGeneration: 2, requestedAt: "t1", at: at(3) }],
    [2, { toGeneration: 2, at: at(4) }],
  ];
  const ids = rotations.map(([generation, rotation]) => idOf(generation, rotation));
  expect(new Set(ids).size).toBe(rotations.length);
  expect(rotations.map(([generation, rotation]) => idOf(generation, rotation))).toEqual(ids);
});
