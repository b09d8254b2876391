/** What only a person ends: purge and waive. */
import { describe, expect, test } from "vitest";
import { REASON } from "../../../src/api/reasons.ts";
import { afterDown, afterEnd, afterRelease } from "../../../src/saga/advance.ts";
import { decide } from "../../../src/saga/decide.ts";
import { type Ending, pending, ownerless, purging, waiving } from "../../../src/saga/ending.ts";
import { patched, type SagaRow } from "../../../src/saga/row.ts";
import { ABSENT, CLUSTER, deletingRow, doneRow, NOW, sagaRow, seconds, decisionInput } from "../../support/builders.ts";

const ORDER = { by: "grace@ops", reason: "left the company" };
const HERE = { clusterID: CLUSTER, otherCluster: false };

const orphan = (given: Partial<SagaRow> = {}) => doneRow({ state: "orphaned", dueAt: undefined, ...given });
const retained = doneRow({ state: "retained", deletionPolicy: "Retain", objectUID: undefined });
const inGrace = deletingRow({}, { released: true, locked: ["secret"], purgeAt: seconds(60).toISOString() });
const cleanup = deletingRow({}, { released: true, undone: ["secret"] });
const held = deletingRow({}, { released: false });
const stopped = deletingRow({ state: "orphaned", clusterID: "another" }, { undone: ["secret"] });

function ends(ending: Ending): Extract<Ending, { kind: "ends" }> {
  if (ending.kind === "refused") throw new Error(ending.message);
  return ending;
}

/** Everything that the engine would do with the row from here on. */
function toTheEnd(start: SagaRow): string[] {
  const done: string[] = [];
  for (let row = start; ;) {
    const action = decide(decisionInput({ row, observation: ABSENT }), NOW);
    if (action.kind === "down") {
      done.push(`${action.how} ${action.step}`);
      row = patched(row, afterDown(row, action.step, action.how, {}).patch);
    } else if (action.kind === "deleted") {
      done.push("deleted");
      row = patched(row, afterEnd(row, "deleted", NOW).patch);
    } else if (action.kind === "release") {
      row = patched(row, afterRelease(row).patch);
    } else return [...done, action.kind];
  }
}

describe("whose accounts live on without an object", () => {
  test.each([
    ["an orphan", orphan(), "orphaned"],
    ["one whose deletion stopped with its cluster", stopped, "orphaned"],
    ["one who was to be retained", retained, "retained"],
    ["one in the time of grace", inGrace, "grace"],
    ["a pending cleanup", cleanup, undefined],
    ["one whose object is still held", held, undefined],
    ["a living person", doneRow(), undefined],
    ["a row that was never confirmed", sagaRow({ confirmed: false, state: "orphaned" }), undefined],
  ])("%s", (_name, row, expected) => expect(ownerless(row, NOW)).toBe(expected));
});

describe("what is pending", () => {
  test("is what was not undone, from the gateway to Keycloak, once the object was released", () => {
    expect(pending(cleanup, NOW)).toEqual(["newapi", "keycloak"]);
    expect(pending(held, NOW)).toEqual([]);
    expect(pending(inGrace, NOW)).toEqual([]);
    expect(pending(inGrace, seconds(61))).toEqual(["secret", "newapi", "keycloak"]);
  });
});

describe("purge", () => {
  test.each([
    ["an orphan", orphan()],
    ["one who was to be retained", retained],
    ["one in the time of grace", inGrace],
  ])("undoes everything of %s, in the inverse order", (_name, row) => {
    const { patch, pending: steps } = ends(purging(row, HERE, ORDER, NOW));
    expect(steps).toEqual(["secret", "newapi", "keycloak"]);
    const after = patched(row, patch);
    expect(after.dueAt).toEqual(NOW);
    expect(toTheEnd(after)).toEqual(["remove secret", "remove newapi", "remove keycloak", "deleted", "idle"]);
  });

  test("says in the history who wanted it and why", () => {
    const { patch } = ends(purging(orphan(), HERE, ORDER, NOW));
    expect(patch.history?.[0]?.message).toBe("Purged by grace@ops: left the company");
  });

  test("gives two purges of one retained person events of their own", () => {
    const word = (now: Date) => ends(purging(retained, HERE, ORDER, now)).patch.deleting?.objectUID;
    expect(word(NOW)).not.toBe(word(seconds(1)));
  });

  test("of a row of another cluster needs that said, and then really runs", () => {
    const row = orphan({ clusterID: "another" });
    expect(purging(row, HERE, ORDER, NOW)).toMatchObject({ kind: "refused", message: /another cluster/ });
    const { patch } = ends(purging(row, { ...HERE, otherCluster: true }, ORDER, NOW));
    expect(toTheEnd(patched(row, patch))).toContain("deleted");
  });

  test("of one whose deletion stopped with its cluster undoes what is left", () => {
    const { patch, pending: steps } = ends(purging(stopped, { ...HERE, otherCluster: true }, ORDER, NOW));
    expect(steps).toEqual(["newapi", "keycloak"]);
    expect(patch.deleting).toMatchObject({ objectUID: stopped.deleting?.objectUID, released: true });
    expect(toTheEnd(patched(stopped, patch))).toEqual(["remove newapi", "remove keycloak", "deleted", "idle"]);
  });

  test("of what a late worker made again still takes whatever is found", () => {
    const row = deletingRow({ state: "orphaned" }, { again: true });
    expect(ends(purging(row, HERE, ORDER, NOW)).patch.deleting?.again).toBe(true);
  });

  test.each([
    ["a living person", doneRow(), /remove it from Git/],
    ["a pending cleanup", cleanup, /automatically/],
    ["one whose object is being deleted", held, /being deleted/],
    ["one who is undone already", sagaRow({ state: "deleted" }), /already/],
    ["a row that nothing was made for", sagaRow({ confirmed: false }), /nothing to purge/],
  ])("refuses %s and says why", (_name, row, message) => {
    expect(purging(row, HERE, ORDER, NOW)).toEqual({ kind: "refused", message: expect.stringMatching(message) });
  });
});

describe("waive", () => {
  test("drops what is pending, tells everybody once, and leaves nothing to do", () => {
    const ending = ends(waiving(cleanup, ORDER, NOW));
    const after = patched(cleanup, ending.patch);
    expect(ending.pending).toEqual(["newapi", "keycloak"]);
    expect(after).toMatchObject({ state: "deleted", dueAt: undefined, deleting: undefined, objectUID: undefined });
    expect(ending.events).toMatchObject([{ type: "sme.user.deleted", metadata: { waived: "newapi,keycloak" } }]);
    expect(after.history[0]).toMatchObject({
      reason: REASON.CleanupPending,
      message: "Waived by grace@ops, never undone: newapi, keycloak. left the company",
    });
    expect(toTheEnd(after)).toEqual(["idle"]);
  });

  test.each([
    ["a living person", doneRow(), /nobody has deleted/],
    ["one in the time of grace", inGrace, /purge/],
    ["one whose object is still held", held, /10 minutes/],
    ["one whose deletion stopped with its cluster", stopped, /purge/],
    ["one who is undone already", sagaRow({ state: "deleted" }), /any more/],
  ])("refuses %s and says why", (_name, row, message) => {
    expect(waiving(row, ORDER, NOW)).toEqual({ kind: "refused", message: expect.stringMatching(message) });
  });
});
