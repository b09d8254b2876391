import { expect, test } from "vitest";
import { milestone } from "../../../src/saga/milestone.ts";
import type { Observation } from "../../../src/saga/decide.ts";
import { doneRow, sagaRow } from "../../support/builders.ts";

const CREATED = new Date("2026-05-01T12:00:00Z");
const NOW = new Date("2026-05-01T12:01:30Z");
const absent: Observation = { kind: "absent" };
const deletedAt = new Date("2026-05-01T12:01:00Z");
const deletingObject: Observation = { kind: "deleting", uid: "u", finalizers: [], deletedAt };
const deleting = { since: "2026-05-01T12:01:20Z", objectUID: "u", undone: [], released: false };
const lastError = (code: string) =>
  ({ step: "newapi", class: "terminal", code, message: "no", at: CREATED.toISOString() }) as const;

test("who is done for the first time is Ready, so long after the object was made", () => {
  const row = sagaRow({ objectCreatedAt: CREATED, handled: undefined });
  expect(milestone(row, absent, { state: "done" }, NOW)).toEqual({ kind: "ready", seconds: 90 });
  expect(milestone(row, absent, { state: "secret_applied" }, NOW)).toBeUndefined();
});

test("who was Ready before, or had to wait for the tenant, is not counted", () => {
  expect(milestone(doneRow(), absent, { state: "done" }, NOW)).toBeUndefined();
  const waited = (code: string) =>
    sagaRow({ objectCreatedAt: CREATED, handled: undefined, lastError: lastError(code) });
  expect(milestone(waited("NotAllowed"), absent, { state: "done" }, NOW)).toBeUndefined();
  expect(milestone(waited("UpstreamUnavailable"), absent, { state: "done" }, NOW)).toMatchObject({ kind: "ready" });
});

test("who is released is removed, counted from the deletion and not from when it was seen", () => {
  const row = sagaRow({ state: "deleted", deleting });
  expect(milestone(row, deletingObject, { deleting: null }, NOW)).toEqual({ kind: "removed", seconds: 30 });
  expect(milestone(row, absent, { deleting: null }, NOW)).toEqual({ kind: "removed", seconds: 10 });
  const cleanup = { deleting: { ...deleting, released: true } };
  expect(milestone(row, deletingObject, cleanup, NOW)).toMatchObject({ kind: "removed" });
});

test.each([
  ["the rest of a cleanup", { ...deleting, released: true }, "deleted"],
  ["what is undone once more after a late worker", { ...deleting, again: true }, "deleted"],
  ["an orphan", deleting, "orphaned"],
] as const)("%s is not removed once more", (_what, its, state) => {
  expect(milestone(sagaRow({ state, deleting: its }), absent, { deleting: null }, NOW)).toBeUndefined();
});
