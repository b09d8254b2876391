/** How a row passes from one object, person or uuid to another, and when it is looked at again. */
import { describe, expect, test } from "vitest";
import { candidateUUID } from "../../../src/api/names.ts";
import { patched, type RowPatch, type SagaRow } from "../../../src/saga/row.ts";
import {
  bound,
  boundObject,
  evicted,
  handedOver,
  holds,
  leftBehind,
  orphanedElsewhere,
  proposed,
  rechecked,
  renamed,
  runAfterFinish,
  seenDeleted,
  touched,
  undoneAgain,
  unseen,
} from "../../../src/saga/transitions.ts";
import { ADA, CLUSTER, deletingRow, doneRow, NOW, OBJECT_UID, sagaRow, seconds } from "../../support/builders.ts";

const identity = { uuid: ADA, tenantID: "acme", email: "ada@example.com" };
const object = {
  uid: "0b000000-0000-4000-8000-000000000002",
  namespace: "tenant-b",
  name: "ada-again",
  createdAt: seconds(-60),
  tenantID: "acme",
  email: "ada@example.com",
  clusterID: CLUSTER,
};
const after = (row: SagaRow, patch: RowPatch | undefined): SagaRow => patched(row, patch ?? {});
const bind = (row: SagaRow, given: Partial<typeof object> = {}) => after(row, bound(row, { ...object, ...given }, NOW));

describe("an object is bound", () => {
  test("to a row that is new: it is confirmed, due, and nothing is known of it", () => {
    const row = bind(unseen(identity, NOW));
    const held = { objectUID: object.uid, namespace: "tenant-b", name: "ada-again", objectCreatedAt: seconds(-60) };
    expect(row).toEqual({ ...unseen(identity, NOW), ...held, clusterID: CLUSTER, confirmed: true, dueAt: NOW });
    expect(holds(row)).toBe(true);
    expect(boundObject(row)).toEqual(object);
  });

  test("to one that admission recorded for another, or that was given up", () => {
    const other = after(unseen(identity, NOW), proposed({ ...object, uid: OBJECT_UID, name: "never" }));
    expect(boundObject(other)).toBeUndefined();
    expect(bind({ ...other, voided: true })).toEqual(bind(unseen(identity, NOW)));
  });

  test.each([
    ["retained", doneRow({ state: "retained", objectUID: undefined })],
    ["an orphan", doneRow({ state: "orphaned" })],
    ["one whose cleanup is pending", deletingRow({}, { released: true, undone: ["secret"] })],
  ])("to %s: the same person, with the same ids, and a run that finds what is there", (_who, before) => {
    const row = bind(before);
    expect(row).toMatchObject({ state: "done", keycloakUserID: "kc-1", newapiUserID: "na-1", dueAt: NOW });
    expect(row.run).toEqual({ reason: "recovered", generation: -1, step: "keycloak", attempt: 0, done: false });
    expect([row.deleting, row.handled, row.rotation, row.toReset]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test.each([
    ["deleted", doneRow({ state: "deleted", reached: "pending", adopted: true, keyGeneration: 4 })],
    ["whose Keycloak user is gone", deletingRow({ adopted: true, keyGeneration: 4 }, { undone: ["keycloak"] })],
  ])("to one %s: a new Keycloak user, and another key than the one that was given up", (_who, before) => {
    const row = bind({ ...before, invitedKeycloakUserID: "kc-1" });
    expect(row).toMatchObject({ state: "pending", reached: "pending", adopted: false, newapiUserID: "na-1" });
    expect(row).toMatchObject({ toReset: ["newapi"], rotation: { toGeneration: 4, at: NOW.toISOString() } });
    expect([row.keycloakUserID, row.invitedKeycloakUserID]).toEqual([undefined, undefined]);
  });

  test("under another email: what opened the accounts for the one before goes first", () => {
    const row = bind(doneRow({ state: "retained", invitedKeycloakUserID: "kc-1" }), { email: "ida@example.com" });
    expect(row).toMatchObject({ email: "ida@example.com", keycloakUserID: "kc-1", toReset: ["keycloak", "newapi"] });
    expect(row).toMatchObject({ rotation: { toGeneration: 0 } });
    expect(row.invitedKeycloakUserID).toBeUndefined();
  });

  test("and what is still to be reset stays so, whoever comes", () => {
    const before = doneRow({ state: "orphaned", toReset: ["newapi"] });
    expect(bind(before).toReset).toEqual(["newapi"]);
    expect(bind({ ...before, confirmed: false }).toReset).toEqual(["newapi"]);
  });
});

describe("a saga passes on", () => {
  test("from the deleted holder to the one who waits for the email", () => {
    const row = after(deletingRow(), handedOver(deletingRow(), object, NOW));
    expect(row).toMatchObject({
      state: "done",
      objectUID: object.uid,
      keycloakUserID: "kc-1",
      run: { reason: "handover" },
    });
    expect([row.deleting, row.handled]).toEqual([undefined, undefined]);
    const purged = deletingRow({ adopted: true }, { undone: ["secret", "newapi", "keycloak"] });
    expect(after(purged, handedOver(purged, object, NOW))).toMatchObject({
      state: "pending",
      keycloakUserID: undefined,
      adopted: false,
    });
  });

  test("to the uuid that the account carries: somebody was here before", () => {
    const uuid = candidateUUID("acme", "before@example.com");
    const row = after(sagaRow(), renamed(uuid, NOW));
    expect(row).toEqual({
      ...sagaRow(),
      uuid,
      run: { reason: "create", generation: -1, step: "keycloak", attempt: 0, done: false },
    });
  });

  test("to the row that has that uuid, and the object's own holds nothing", () => {
    const row = after(sagaRow(), leftBehind());
    expect(row).toMatchObject({ voided: true, confirmed: false, objectUID: undefined, dueAt: undefined });
    expect(holds(row)).toBe(false);
  });

  test("never with a uuid that is another tenant's: the row finds nothing under the one that it gets", () => {
    const uuid = "aaaaaaaa-0000-4000-8000-000000000001";
    const row = after(doneRow({ dueAt: undefined }), evicted(doneRow(), uuid, NOW));
    expect(row).toMatchObject({ uuid, state: "pending", reached: "pending", keycloakUserID: undefined, dueAt: NOW });
    const kept = doneRow({ state: "retained", objectUID: undefined, dueAt: undefined });
    expect(after(kept, evicted(kept, uuid, NOW))).toMatchObject({ state: "retained", dueAt: undefined });
  });

  test("of another cluster: an orphan, that the object finds when it comes back", () => {
    const row = after(doneRow(), orphanedElsewhere());
    expect(row).toMatchObject({ state: "orphaned", dueAt: undefined, keycloakUserID: "kc-1" });
    expect(holds(row)).toBe(false);
    expect(bind(row)).toMatchObject({ state: "done", uuid: row.uuid });
  });

  test("of another cluster, in the middle of a deletion: an orphan whose object does not find what was undone", () => {
    const going = deletingRow({ keyGeneration: 4 }, { undone: ["secret", "newapi", "keycloak"] });
    expect(holds(going)).toBe(true);
    const row = after(going, orphanedElsewhere());
    expect(holds(row)).toBe(false);
    expect(bind(row)).toMatchObject({ state: "pending", keycloakUserID: undefined, rotation: { toGeneration: 4 } });
    expect(bind(row).deleting).toBeUndefined();
  });
});

describe("a deletion that was seen of an object that nobody held", () => {
  const grace = (graceMs: number, withheldMs?: number) => ({ graceMs, withheldMs });

  test("is undone, with its grace", () => {
    const { deleting, state } = after(doneRow(), seenDeleted(doneRow(), grace(60_000), NOW));
    const purgeAt = seconds(60).toISOString();
    const known = { since: NOW.toISOString(), objectUID: OBJECT_UID, undone: [], locked: [] };
    expect([state, deleting]).toEqual(["deleting", { ...known, released: true, purgeAt }]);
    expect(seenDeleted(doneRow(), grace(0), NOW).deleting).not.toHaveProperty("purgeAt");
  });

  test("locks for longer the accounts that were to stay, and may not", () => {
    const row = doneRow({ deletionPolicy: "Retain" });
    const patch = seenDeleted(row, grace(60_000, 120_000), NOW);
    expect(patch).toMatchObject({ deletionPolicy: "Delete", deleting: { purgeAt: seconds(120).toISOString() } });
    expect(after(row, seenDeleted(row, grace(0), NOW)).deletionPolicy).toBe("Retain");
  });

  test("that is undone already is undone once more after a late worker", () => {
    const row = sagaRow({ state: "deleted", objectUID: undefined });
    expect(after(row, undoneAgain(row, NOW))).toMatchObject({
      state: "deleting",
      dueAt: NOW,
      deleting: { objectUID: "", undone: [], released: true, again: true },
    });
  });
});

describe("something of a person was changed outside", () => {
  const running = sagaRow({
    secretName: "s",
    secretVersion: "7",
    run: { reason: "edit", generation: 2, step: "secret", attempt: 0, done: false },
  });

  test("of a finished one everything from there on is ensured", () => {
    const run = { reason: "drift", generation: 1, step: "newapi", attempt: 0, done: false };
    expect(rechecked(doneRow(), "newapi", undefined, NOW)).toEqual({ dueAt: NOW, recheck: null, run });
  });

  test.each([
    ["who is going", deletingRow()],
    ["who is failed", doneRow({ state: "failed" })],
    ["who was never seen", doneRow({ confirmed: false })],
    ["who has no Secret yet", sagaRow({ run: running.run })],
  ])("of one %s nothing is", (_who, row) => expect(rechecked(row, "secret", undefined, NOW)).toBeUndefined());

  test("while a run continues: noted, the earliest step wins, and what is seen last of a Secret", () => {
    const seen = after(running, rechecked(running, "secret", "8", NOW));
    expect(seen.recheck).toEqual({ step: "secret", version: "8" });
    expect(after(seen, rechecked(seen, "secret", "9", NOW)).recheck).toEqual({ step: "secret", version: "9" });
    const gone = after(seen, rechecked(seen, "secret", undefined, NOW));
    expect(gone.recheck).toEqual({ step: "secret" });
    expect(after(gone, rechecked(gone, "secret", "9", NOW)).recheck).toEqual({ step: "secret" });
    expect(after(gone, rechecked(gone, "keycloak", undefined, NOW)).recheck).toEqual({ step: "keycloak" });
  });

  test("and another run follows, unless it was this run's own writing", () => {
    const follows = (row: SagaRow) => runAfterFinish(row, 2)?.step;
    expect(follows(running)).toBeUndefined();
    expect(follows({ ...running, recheck: { step: "secret", version: "7" } })).toBeUndefined();
    expect(follows({ ...running, recheck: { step: "secret", version: "8" } })).toBe("secret");
    expect(follows({ ...running, recheck: { step: "keycloak" } })).toBe("keycloak");
  });

  test("a touch makes a row due, and never later than it was", () => {
    expect(touched(doneRow({ dueAt: undefined }), NOW)).toEqual({ dueAt: NOW });
    expect(touched(doneRow({ dueAt: seconds(60) }), NOW)).toEqual({ dueAt: NOW });
    expect(touched(doneRow({ dueAt: seconds(-60) }), NOW)).toEqual({ dueAt: seconds(-60) });
  });
});
