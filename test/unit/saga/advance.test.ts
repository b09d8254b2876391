import { describe, expect, test } from "vitest";
import { TerminalError, TransientError, WaitingError, ConflictError, type SagaError } from "../../../src/lib/errors.ts";
import {
  afterBeginDown,
  afterDown,
  afterEnd,
  afterFinish,
  afterOrphan,
  afterRelease,
  afterUp,
  beforeUp,
  remember,
} from "../../../src/saga/advance.ts";
import { afterFailure } from "../../../src/saga/failure.ts";
import { fingerprint } from "../../../src/saga/decide.ts";
import { desire } from "../../../src/saga/desired.ts";
import { patched, type Run, type SagaRow } from "../../../src/saga/row.ts";
import {
  ADA,
  deletingRow,
  doneRow,
  handled,
  NOW,
  OBJECT_UID,
  sagaRow,
  seconds,
  tenant,
  tenantUser,
  tenantView,
} from "../../support/builders.ts";

const still = () => 0;
const desired = desire(tenantUser().build(), tenant());
const run = (given: Partial<Run> = {}): Run => ({
  reason: "create",
  generation: 1,
  step: "keycloak",
  attempt: 0,
  done: false,
  ...given,
});
const transient = (more: { retryAfterMs?: number } = {}) =>
  new TransientError({ code: "UpstreamUnavailable", message: "Keycloak answered 503.", upstreamStatus: 503, ...more });
const terminal = new TerminalError({ code: "UserClaimed", message: "Somebody has it." });
const fail = (row: SagaRow, error: SagaError, now = NOW) =>
  afterFailure(row, "keycloak", error, { desired, tenant: tenantView() }, now, still);

describe("before a step goes up", () => {
  test("the run, and the place of a Secret that is not made yet, are recorded", () => {
    expect(beforeUp(sagaRow(), desired, run(), NOW)).toEqual({
      run: run(),
      secretNamespace: "tenant-a",
      secretName: `newapi-key-${ADA}`,
    });
  });

  test("the place of a Secret that is there stays until the Secret is at the new one, which is noted beside it", () => {
    const named = (name: string) => desire(tenantUser().withSpec({ secret: { name } }).build(), tenant());
    const mine = { namespace: "tenant-a", name: "newapi-key-mine" };
    expect(beforeUp(doneRow(), named(mine.name), run(), NOW)).toEqual({ run: run(), secretPlaces: [mine] });
    const noted = doneRow({ run: run(), secretPlaces: [mine] });
    expect(beforeUp(noted, named(mine.name), run(), NOW)).toBeUndefined();
    expect(beforeUp(noted, desired, run(), NOW)).toBeUndefined();
    const other = { namespace: "tenant-a", name: "newapi-key-other" };
    expect(beforeUp(noted, named(other.name), run(), NOW)).toMatchObject({ secretPlaces: [mine, other] });
  });

  test("the place of a Secret that was perhaps made is kept when another is wanted", () => {
    const row = sagaRow({ run: run(), secretNamespace: "tenant-a", secretName: "newapi-key-mine" });
    const patch = beforeUp(row, desired, run(), NOW);
    expect(patch).not.toHaveProperty("secretName");
    expect(patch).toMatchObject({ secretPlaces: [{ namespace: "tenant-a", name: `newapi-key-${ADA}` }] });
  });

  test("the same run needs no second record", () => {
    expect(beforeUp(doneRow({ run: run() }), desired, run(), NOW)).toBeUndefined();
  });

  test("a wish to rotate is recorded before the gateway is asked, and not again while it is open", () => {
    const rotate = desire(
      tenantUser()
        .withSpec({ key: { generation: 3 } })
        .rotateRequestedAt("t1")
        .build(),
      tenant(),
    );
    const row = doneRow({ keyGeneration: 1 });
    expect(beforeUp(row, rotate, run(), NOW)?.rotation).toEqual({ toGeneration: 3, requestedAt: "t1" });
    // A value of the annotation may come again; its rotation is another.
    expect(beforeUp(doneRow({ keyGeneration: 3 }), rotate, run(), NOW)?.rotation).toEqual({
      toGeneration: 3,
      requestedAt: "t1",
      at: NOW.toISOString(),
    });
    expect(beforeUp(doneRow({ run: run(), rotation: { toGeneration: 3 } }), rotate, run(), NOW)).toBeUndefined();
  });

  test("a step that cannot rotate takes no wish to", () => {
    const rotate = desire(tenantUser().rotateRequestedAt("t1").build(), tenant());
    expect(beforeUp(doneRow({ run: run({ step: "secret" }) }), rotate, run({ step: "secret" }), NOW)).toBeUndefined();
  });

  test("a person who is new, or back, is rotated by nothing", () => {
    const rotate = desire(
      tenantUser()
        .withSpec({ key: { generation: 3 } })
        .rotateRequestedAt("t1")
        .build(),
      tenant(),
    );
    expect(beforeUp(sagaRow(), rotate, run(), NOW)).not.toHaveProperty("rotation");
  });

  test("the deletion policy is copied", () => {
    const retain = desire(tenantUser().withSpec({ deletionPolicy: "Retain" }).build(), tenant());
    expect(beforeUp(doneRow({ run: run() }), retain, run(), NOW)).toEqual({ run: run(), deletionPolicy: "Retain" });
  });
});

describe("after a step went up", () => {
  test("the id is recorded with the state, and failures are forgotten", () => {
    const row = sagaRow({ state: "failed", retryCount: 7, failedSince: NOW, blockedOn: "old", run: run() });
    const { patch, next } = afterUp(row, run(), { learned: { keycloakUserID: "kc-1" } });
    expect(next).toEqual({ kind: "continue" });
    expect(patched(row, patch)).toMatchObject({
      keycloakUserID: "kc-1",
      state: "kc_created",
      reached: "kc_created",
      retryCount: 0,
      failedSince: undefined,
      blockedOn: undefined,
      run: { step: "newapi", attempt: 0, done: false },
    });
  });

  test("one who has been through stays done while something is fixed", () => {
    expect(afterUp(doneRow(), run({ step: "keycloak" }), { learned: {} }).patch).toMatchObject({
      state: "done",
      reached: "done",
    });
  });

  test("a failed one returns to the furthest point it had reached", () => {
    const row = sagaRow({ state: "failed", reached: "newapi_created" });
    expect(afterUp(row, run(), { learned: {} }).patch).toMatchObject({ state: "newapi_created" });
  });

  test("the last step ends the run but for the saying", () => {
    const { patch } = afterUp(sagaRow({ reached: "newapi_created" }), run({ step: "secret" }), {
      learned: {},
      key: "works",
      notes: ["secret: x"],
    });
    expect(patch).toMatchObject({ reached: "secret_applied", run: { done: true, key: "works", notes: ["secret: x"] } });
  });
});

describe("what a run does not come by", () => {
  const before = handled({ notes: ["keycloak: The user name stayed.", "newapi: No tier."], lockedOut: true });
  const row = doneRow({ handled: before });

  test("stays said: a check of the Secret alone takes back nothing that the other steps had to say", () => {
    const { run: next } = afterUp(row, run({ reason: "drift", step: "secret" }), { learned: {} }).patch;
    expect(next).toMatchObject({ notes: before.notes, lockedOut: true });
  });

  test("and what a step says replaces what it had said", () => {
    const result = { learned: {}, notes: [], lockedOut: false };
    const { run: next } = afterUp(row, run({ reason: "drift" }), result).patch;
    expect(next).toMatchObject({ notes: ["newapi: No tier."], lockedOut: false });
  });
});

describe("when a run is finished", () => {
  const finished = (row: SagaRow, given: Partial<Run> = {}, wanted = desired) =>
    patched(
      row,
      afterFinish(
        row,
        run({ step: "secret", done: true, key: "works", ...given }),
        wanted,
        tenantView({ revision: "r2" }),
        NOW,
      ).patch,
    );

  test("what it has seen is handled: not what came after it had begun", () => {
    const wanted = desire(tenantUser().requestedAt("late").build(), tenant());
    const seen = { tenantRevision: "r1", requestedAt: "early" };
    expect(finished(sagaRow(), { seen }, wanted).handled).toMatchObject({ generation: 1, ...seen });
  });

  test("fixing one step claims to have seen nothing new", () => {
    expect(finished(doneRow(), { reason: "drift" }).handled).toMatchObject({ tenantRevision: "r1" });
  });

  test("a rotation that was done moves the key's generation and its date", () => {
    const row = doneRow({ rotation: { toGeneration: 4, requestedAt: "t1" } });
    expect(finished(row, { rotated: true })).toMatchObject({
      keyGeneration: 4,
      keyRotatedAt: NOW,
      rotation: undefined,
      handled: { rotateRequestedAt: "t1" },
    });
  });

  test("a rotation asked for too late for this run stays to be done", () => {
    const wanted = desire(tenantUser().rotateRequestedAt("t1").build(), tenant());
    expect(finished(doneRow(), {}, wanted).handled?.rotateRequestedAt).toBeUndefined();
  });

  test("the count of rotations continues with a person who passed to another object", () => {
    expect(finished(doneRow({ handled: undefined, keyGeneration: 3 }), {}).keyGeneration).toBe(3);
  });

  test("a new person has the key of their spec's generation without a rotation", () => {
    const wanted = desire(
      tenantUser()
        .withSpec({ key: { generation: 5 } })
        .rotateRequestedAt("t1")
        .build(),
      tenant(),
    );
    expect(finished(sagaRow(), {}, wanted)).toMatchObject({
      keyGeneration: 5,
      keyRotatedAt: undefined,
      handled: { rotateRequestedAt: "t1" },
    });
  });

  test("what the gateway could not follow stays known until it is wanted as it was", () => {
    const wanted = desire(
      tenantUser()
        .withSpec({ newapi: { tier: "gold" } })
        .build(),
      tenant(),
    );
    const notes = ["newapi: This gateway cannot change the tier."];
    expect(finished(doneRow({ handled: handled({ tier: "default" }) }), { notes }, wanted).handled).toMatchObject({
      tier: "default",
      notes,
    });
  });
});

describe("when something fails", () => {
  test("a passing failure pauses longer each time; the fifth in a row makes it failed", () => {
    let row = sagaRow({ run: run() });
    const pauses: number[] = [];
    for (let n = 1; n <= 6; n += 1) {
      const { patch, next } = fail(row, transient());
      if (next.kind !== "retry") throw new Error("not tried again");
      pauses.push((next.at.getTime() - NOW.getTime()) / 1000);
      row = patched(row, patch);
      expect(row.state).toBe(n < 5 ? "pending" : "failed");
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32]);
    expect(row).toMatchObject({
      retryCount: 6,
      failedSince: NOW,
      blockedOn: undefined,
      run: { step: "keycloak", attempt: 6 },
    });
  });

  test("Retry-After is obeyed", () => {
    expect(fail(sagaRow(), transient({ retryAfterMs: 90_000 })).next).toEqual({ kind: "retry", at: seconds(90) });
  });

  test("a terminal one rests until its fingerprint changes", () => {
    expect(fail(sagaRow(), terminal)).toMatchObject({
      patch: {
        state: "failed",
        blockedOn: fingerprint(desired, tenantView()),
        lastError: { class: "terminal", code: "UserClaimed", step: "keycloak" },
      },
      next: { kind: "idle" },
    });
  });

  test("going down nothing is terminal: it is tried again, and never called failed", () => {
    let row = deletingRow();
    for (let n = 0; n < 8; n += 1) {
      const { patch, next } = afterFailure(row, "newapi", terminal, undefined, NOW, still);
      expect(next.kind).toBe("retry");
      row = patched(row, patch);
    }
    expect(row).toMatchObject({ state: "deleting", retryCount: 8, blockedOn: undefined });
  });

  test("waiting burns no retries, slows down, and the same wait is not told again", () => {
    const waiting = new WaitingError({ code: "TenantNotReady", message: "No profile." });
    const first = patched(sagaRow(), fail(sagaRow(), waiting).patch);
    expect(first).toMatchObject({ retryCount: 0, state: "pending", lastError: { at: NOW.toISOString() } });
    const second = patched(first, fail(first, waiting, seconds(9)).patch);
    expect(second.lastError).toEqual(first.lastError);
    expect(second.backoffUntil).toEqual(seconds(17));
  });

  test("an account that is gone is made again by the step that makes accounts", () => {
    const gone = new ConflictError({ code: "AccountGone", message: "It is gone." });
    const row = doneRow({ run: run({ reason: "drift", step: "secret" }) });
    expect(afterFailure(row, "secret", gone, { desired, tenant: tenantView() }, NOW, still).patch.run).toMatchObject({
      step: "newapi",
    });
  });

  test("history tells a failure once, however often it repeats", () => {
    const first = patched(sagaRow(), fail(sagaRow(), transient()).patch);
    const second = patched(first, fail(first, transient(), seconds(3)).patch);
    expect(second.history).toEqual(first.history);
    expect(second.history).toHaveLength(1);
  });

  test("history keeps the newest five", () => {
    let row = sagaRow();
    for (let n = 1; n <= 7; n += 1)
      row = { ...row, history: remember(row, { at: String(n), state: "done", reason: "Ready" }) };
    expect(row.history.map((entry) => entry.at)).toEqual(["7", "6", "5", "4", "3"]);
  });
});

describe("going down", () => {
  test("begins by forgetting what was under way", () => {
    const row = doneRow({
      state: "failed",
      run: run(),
      retryCount: 9,
      backoffUntil: seconds(9),
      blockedOn: "x",
      rotation: { toGeneration: 2 },
    });
    expect(patched(row, afterBeginDown(OBJECT_UID, NOW, seconds(60)).patch)).toMatchObject({
      state: "deleting",
      run: undefined,
      retryCount: 0,
      backoffUntil: undefined,
      blockedOn: undefined,
      rotation: undefined,
      deleting: {
        objectUID: OBJECT_UID,
        since: NOW.toISOString(),
        purgeAt: seconds(60).toISOString(),
        undone: [],
        locked: [],
        released: false,
      },
    });
  });

  test("what is locked is not yet undone", () => {
    const row = deletingRow();
    expect(afterDown(row, "secret", "lock", {}).patch.deleting).toMatchObject({ locked: ["secret"], undone: [] });
    expect(afterDown(row, "secret", "remove", { secretUID: null }).patch).toMatchObject({
      secretUID: null,
      deleting: { undone: ["secret"] },
    });
  });

  test("a step cannot go down on one who stays", () => {
    expect(() => afterDown(doneRow(), "secret", "remove", {})).toThrow(/not being deleted/);
  });

  test("deleted keeps the ids for audit and frees what it held, once it is released", () => {
    const row = patched(deletingRow(), afterEnd(deletingRow(), "deleted", NOW).patch);
    expect(row).toMatchObject({
      state: "deleted",
      keycloakUserID: "kc-1",
      newapiUserID: "na-1",
      handled: undefined,
      reached: "pending",
    });
    expect(patched(row, afterRelease(row).patch)).toMatchObject({
      objectUID: undefined,
      deleting: undefined,
      state: "deleted",
    });
  });

  test("retained keeps all it had", () => {
    expect(patched(deletingRow(), afterEnd(deletingRow(), "retained", NOW).patch)).toMatchObject({
      state: "retained",
      reached: "done",
      handled: handled(),
    });
  });

  test("a cleanup is released and continues", () => {
    expect(afterRelease(deletingRow())).toMatchObject({
      patch: { deleting: { released: true } },
      next: { kind: "continue" },
    });
  });

  test("a row for which nothing was made holds nothing once its object is gone, and is nobody's", () => {
    const unmade = sagaRow();
    expect(patched(unmade, afterOrphan(unmade, NOW).patch)).toMatchObject({
      voided: true,
      confirmed: false,
      objectUID: undefined,
      state: "pending",
    });
    const begun = sagaRow({ run: { reason: "create", generation: 1, step: "keycloak", attempt: 0, done: false } });
    for (const row of [begun, sagaRow({ keycloakUserID: "kc-1" }), sagaRow({ newapiUserID: "7" })]) {
      expect(patched(row, afterOrphan(row, NOW).patch)).toMatchObject({ voided: false, state: "orphaned" });
    }
  });

  test("an orphan keeps its ids and its object's name", () => {
    expect(patched(doneRow(), afterOrphan(doneRow(), NOW).patch)).toMatchObject({
      state: "orphaned",
      keycloakUserID: "kc-1",
      objectUID: OBJECT_UID,
      reached: "done",
    });
  });

  test("an orphan keeps what the deletion in its lost cluster has undone", () => {
    const row = deletingRow({}, { undone: ["secret"] });
    const { deleting } = row;
    expect(patched(row, afterOrphan(row, NOW).patch)).toMatchObject({ state: "orphaned", deleting });
  });
});
