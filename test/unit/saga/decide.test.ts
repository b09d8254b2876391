import { describe, expect, test } from "vitest";
import { decide, fingerprint, RELEASE_AFTER_MS, type DecisionInput, WITHHELD_MS } from "../../../src/saga/decide.ts";
import { desire } from "../../../src/saga/desired.ts";
import type { SagaRow } from "../../../src/saga/row.ts";
import {
  ABSENT,
  deletingRow,
  doneRow,
  handled,
  NOW,
  OBJECT_UID,
  sagaRow,
  seconds,
  CLUSTER,
  observationOf,
  tenant,
  tenantUser,
  tenantView,
  decisionInput,
} from "../../support/builders.ts";

const next = (given: Partial<DecisionInput> = {}, now = NOW) => decide(decisionInput(given), now);
const silent = { why: "silent", until: seconds(1) } as const;
const refuses = { why: "refuses", until: seconds(30) } as const;
const done = { kind: "idle", why: "done" };
const run = (given: Partial<NonNullable<SagaRow["run"]>> = {}) => ({
  reason: "create" as const,
  generation: 1,
  step: "keycloak" as const,
  attempt: 0,
  done: false,
  seen: { tenantRevision: "r1", requestedAt: undefined },
  ...given,
});

describe("what is not to be touched", () => {
  test.each([
    ["a voided row rests", { row: sagaRow({ voided: true }) }, "voided"],
    ["a row whose object was never seen rests", { row: sagaRow({ confirmed: false }) }, "unconfirmed"],
    [
      "an unconfirmed row rests even when its object is being deleted",
      { row: sagaRow({ confirmed: false }), observation: observationOf(tenantUser().deleting().build()) },
      "unconfirmed",
    ],
    ["a deleted row rests", { row: sagaRow({ state: "deleted" }), observation: ABSENT }, "ended"],
    ["a retained row rests", { row: doneRow({ state: "retained" }), observation: ABSENT }, "ended"],
    ["an orphan rests while its object is away", { row: doneRow({ state: "orphaned" }), observation: ABSENT }, "ended"],
  ] satisfies [string, Partial<DecisionInput>, string][])("%s", (_sentence, given, why) => {
    expect(next(given)).toEqual({ kind: "idle", why });
  });

  test("an object that is gone without a deletion makes an orphan, and nothing is undone", () => {
    expect(next({ row: doneRow({ missingSince: seconds(-5) }), observation: ABSENT })).toEqual({
      kind: "orphan",
      release: false,
    });
  });

  test.each([
    ["just found", undefined],
    ["of long ago, which was another one", seconds(-61)],
  ])("an absence %s is given five seconds, for its deletion may be about to be seen", (_which, missingSince) => {
    expect(next({ row: doneRow({ missingSince }), observation: ABSENT })).toEqual({
      kind: "await-deletion",
      since: NOW,
      until: seconds(5),
    });
  });

  test("a terminal error rests until something of its fingerprint changes", () => {
    const user = tenantUser();
    const blockedOn = fingerprint(desire(user.build(), tenant()), tenantView());
    const row = sagaRow({ state: "failed", blockedOn });
    expect(next({ row })).toEqual({ kind: "idle", why: "blocked" });
    expect(next({ row, observation: observationOf(user.withGeneration(2).build()) })).toMatchObject({ kind: "up" });
    expect(next({ row, observation: observationOf(user.requestedAt("again").build()) })).toMatchObject({ kind: "up" });
    expect(next({ row, tenant: tenantView({ revision: "r2" }) })).toMatchObject({ kind: "up" });
  });

  test("a suspended person is left alone, also with work in flight", () => {
    const observation = observationOf(tenantUser().withSpec({ suspend: true }).build());
    expect(next({ observation })).toEqual({ kind: "suspend" });
    expect(next({ observation, row: doneRow({ run: run({ step: "secret", reason: "drift" }) }) })).toEqual({
      kind: "suspend",
    });
  });

  test("a suspended Tenant suspends everybody", () => {
    expect(next({ observation: observationOf(tenantUser().build(), tenant({ suspend: true })) })).toEqual({
      kind: "suspend",
    });
  });

  test("suspending does not hold up a deletion", () => {
    expect(
      next({
        observation: observationOf(tenantUser().withSpec({ suspend: true }).deleting().build()),
        row: doneRow(),
        crd: "present",
      }),
    ).toMatchObject({
      kind: "begin-down",
    });
  });
});

describe("what waits", () => {
  test("without a Tenant it waits, and says so", () => {
    expect(next({ tenant: undefined })).toMatchObject({ kind: "wait", reason: "NoTenant", until: undefined });
  });

  test("while the Tenant is not ready it waits with the Tenant's own sentence", () => {
    expect(next({ tenant: tenantView({ ready: false, message: "No group." }) })).toMatchObject({
      kind: "wait",
      reason: "TenantNotReady",
      message: "No group.",
    });
  });

  test("one who has everything does not wait for a Tenant that is not ready", () => {
    expect(next({ row: doneRow(), tenant: tenantView({ ready: false }) })).toEqual(done);
  });

  test("a pause after a failure is slept through", () => {
    expect(next({ row: sagaRow({ backoffUntil: seconds(5) }) })).toEqual({ kind: "sleep", until: seconds(5) });
    expect(next({ row: sagaRow({ backoffUntil: seconds(5) }) }, seconds(5))).toMatchObject({ kind: "up" });
  });

  test("behind a closed upstream it waits for the probe; a step at another upstream continues", () => {
    const closed = { keycloak: silent };
    expect(next({ closed })).toMatchObject({ kind: "wait", reason: "UpstreamUnavailable", until: seconds(1) });
    const row = sagaRow({ reached: "kc_created", run: run({ step: "newapi" }) });
    expect(next({ closed, row })).toMatchObject({ kind: "up", step: "newapi" });
  });

  test("the Secret's step waits behind the gateway, which it asks for the key", () => {
    const row = sagaRow({ reached: "newapi_created", run: run({ step: "secret" }) });
    expect(next({ closed: { newapi: silent }, row })).toMatchObject({ kind: "wait" });
    expect(next({ closed: { keycloak: silent }, row })).toMatchObject({ kind: "up", step: "secret" });
  });

  test("behind an upstream that refuses the tenant's credential it waits for the Tenant's check", () => {
    expect(next({ closed: { keycloak: refuses } })).toEqual({
      kind: "wait",
      reason: "TenantNotReady",
      message:
        "keycloak refuses this tenant's credential. The reconciler checks the Tenant and continues when the check passes.",
      until: seconds(30),
    });
  });
});

describe("what is refused", () => {
  test("what the Tenant does not allow, before anything is done", () => {
    const observation = observationOf(
      tenantUser()
        .withSpec({ groups: ["admins"] })
        .build(),
    );
    expect(next({ observation })).toMatchObject({ kind: "refuse", refusal: { reason: "NotAllowed" } });
  });

  test("a pin that is added later and is not the person's uuid", () => {
    const observation = observationOf(
      tenantUser().withGeneration(2).withSpec({ userUUID: "0a000000-0000-4000-8000-00000000000a" }).build(),
    );
    expect(next({ row: doneRow(), observation })).toMatchObject({
      kind: "refuse",
      refusal: { reason: "UUIDNotYours" },
    });
  });

  test("a Secret that was to move again and again, and never did", () => {
    const secretPlaces = Array.from({ length: 16 }, (_place, n) => ({
      namespace: "tenant-a",
      name: `newapi-key-${n}`,
    }));
    const row = doneRow({ secretPlaces, secretNamespace: "tenant-a", secretName: "newapi-key-x" });
    const named = (name: string) =>
      next({ row, observation: observationOf(tenantUser().withGeneration(2).withSpec({ secret: { name } }).build()) });
    expect(named("newapi-key-16")).toMatchObject({ kind: "refuse", refusal: { reason: "RequestRefused" } });
    expect(named("newapi-key-15")).toMatchObject({ kind: "up" });
    expect(named("newapi-key-x")).toMatchObject({ kind: "up" });
    const fewer = { ...row, secretPlaces: secretPlaces.slice(1) };
    expect(
      next({
        row: fewer,
        observation: observationOf(
          tenantUser()
            .withGeneration(2)
            .withSpec({ secret: { name: "newapi-key-16" } })
            .build(),
        ),
      }),
    ).toMatchObject({ kind: "up" });
  });

  test("a pin that is the person's uuid is no matter", () => {
    const row = doneRow();
    expect(next({ row, observation: observationOf(tenantUser().withSpec({ userUUID: row.uuid }).build()) })).toEqual(
      done,
    );
  });

  test("one who is no longer refused is worked on again, although nothing else has changed", () => {
    expect(next({ row: doneRow({ state: "failed", blockedOn: "1|r0||" }) })).toMatchObject({
      kind: "up",
      run: { reason: "tenant" },
    });
  });
});

describe("going up", () => {
  test("begins with Keycloak and tells what it was begun under", () => {
    expect(next({ observation: observationOf(tenantUser().requestedAt("t1").build()) })).toMatchObject({
      kind: "up",
      step: "keycloak",
      run: { reason: "create", generation: 1, seen: { tenantRevision: "r1", requestedAt: "t1" } },
    });
  });

  test("an object without our finalizer gets it before any outside call", () => {
    expect(next({ observation: observationOf(tenantUser().withoutFinalizer().build()) })).toEqual({
      kind: "add-finalizer",
    });
  });

  test("one who is done, and whose finalizer somebody took off, gets it again", () => {
    const bare = observationOf(tenantUser().withoutFinalizer().build());
    expect(next({ row: doneRow(), observation: bare })).toEqual({ kind: "add-finalizer" });
    expect(next({ row: doneRow() })).toEqual({ kind: "idle", why: "done" });
  });

  test("a changed email moves before any outside call, and compares without capitals", () => {
    const to = (email: string) => observationOf(tenantUser().withGeneration(2).withSpec({ email }).build());
    expect(next({ row: doneRow(), observation: to("Grace@Example.com") })).toEqual({
      kind: "move-email",
      email: "grace@example.com",
    });
    expect(next({ row: doneRow(), observation: to(" ADA@example.com ") })).toMatchObject({
      kind: "up",
      step: "keycloak",
    });
  });

  test("the run in flight continues at its step", () => {
    expect(
      next({ row: sagaRow({ reached: "newapi_created", run: run({ step: "secret", attempt: 3 }) }) }),
    ).toMatchObject({
      kind: "up",
      step: "secret",
      run: { attempt: 3 },
    });
  });

  test("a run whose steps are through is finished", () => {
    expect(
      next({ row: sagaRow({ reached: "secret_applied", run: run({ step: "secret", done: true }) }) }),
    ).toMatchObject({ kind: "finish" });
  });

  test.each([
    ["a newer generation", { observation: observationOf(tenantUser().withGeneration(2).build()) }],
    ["a newer Tenant", { tenant: tenantView({ revision: "r2" }) }],
    ["a newer request", { observation: observationOf(tenantUser().requestedAt("t2").build()) }],
  ] satisfies [string, Partial<DecisionInput>][])("%s begins the run in flight again", (_what, given) => {
    const row = doneRow({ run: run({ reason: "edit", step: "secret" }) });
    expect(next({ row, ...given })).toMatchObject({
      kind: "up",
      step: "keycloak",
      run: { reason: "edit", attempt: 0 },
    });
  });

  test.each([
    ["an edit", { observation: observationOf(tenantUser().withGeneration(2).build()) }, "edit"],
    ["a changed Tenant", { tenant: tenantView({ revision: "r2" }) }, "tenant"],
    ["a request", { observation: observationOf(tenantUser().requestedAt("t1").build()) }, "requested"],
    [
      "a higher key generation",
      {
        observation: observationOf(
          tenantUser()
            .withSpec({ key: { generation: 1 } })
            .build(),
        ),
      },
      "rotate",
    ],
    ["the rotate annotation", { observation: observationOf(tenantUser().rotateRequestedAt("t1").build()) }, "rotate"],
  ] satisfies [string, Partial<DecisionInput>, string][])(
    "%s is work for one who has everything",
    (_what, given, reason) => {
      expect(next({ row: doneRow(), ...given })).toMatchObject({ kind: "up", step: "keycloak", run: { reason } });
    },
  );

  test.each([
    ["nothing new", {}],
    [
      "a lower key generation",
      {
        row: doneRow({ keyGeneration: 3 }),
        observation: observationOf(
          tenantUser()
            .withSpec({ key: { generation: 2 } })
            .build(),
        ),
      },
    ],
    [
      "a request that was handled",
      {
        row: doneRow({ handled: handled({ requestedAt: "t1" }) }),
        observation: observationOf(tenantUser().requestedAt("t1").build()),
      },
    ],
    ["a request whose annotation was taken away", { row: doneRow({ handled: handled({ requestedAt: "t1" }) }) }],
    [
      "a rotation that was handled",
      {
        row: doneRow({ handled: handled({ rotateRequestedAt: "t1" }) }),
        observation: observationOf(tenantUser().rotateRequestedAt("t1").build()),
      },
    ],
  ] satisfies [string, Partial<DecisionInput>][])("%s is no work", (_what, given) => {
    expect(next({ row: doneRow(), ...given })).toEqual(done);
  });

  test("a rotation wanted while only the Secret is being fixed begins with the gateway's turn", () => {
    const row = doneRow({ run: run({ reason: "drift", step: "secret", seen: undefined }) });
    expect(next({ row, observation: observationOf(tenantUser().rotateRequestedAt("t1").build()) })).toMatchObject({
      kind: "up",
      step: "keycloak",
    });
  });

  test("a run that begins again knows what it has rotated", () => {
    const row = doneRow({ rotation: { toGeneration: 1 }, run: run({ step: "secret", done: true, rotated: true }) });
    expect(next({ row, observation: observationOf(tenantUser().withGeneration(2).build()) })).toMatchObject({
      kind: "up",
      step: "keycloak",
      run: { rotated: true },
    });
  });

  test("fixing the Secret alone is enough when nothing else is new", () => {
    const row = doneRow({ run: run({ reason: "drift", step: "secret", seen: undefined }) });
    expect(next({ row })).toMatchObject({ kind: "up", step: "secret" });
  });
});

describe("going down", () => {
  const gone = observationOf(tenantUser().deleting(seconds(-5)).build());
  const down = (row: SagaRow, given: Partial<DecisionInput> = {}, now = NOW) =>
    next({ row, observation: gone, crd: "present", ...given }, now);

  test("is noted first, whatever else there is to do", () => {
    const row = doneRow({ run: run({ reason: "edit" }), blockedOn: "x", backoffUntil: seconds(60), state: "failed" });
    expect(down(row, { tenant: undefined, closed: { keycloak: silent } })).toEqual({
      kind: "begin-down",
      objectUID: OBJECT_UID,
      since: NOW,
      purgeAt: undefined,
    });
  });

  test("takes its grace from the Tenant, counted from the deletion", () => {
    expect(down(doneRow(), { tenant: tenantView({ deletionGraceMs: 60_000 }) })).toMatchObject({
      purgeAt: seconds(55),
    });
  });

  test.each(["terminating", "gone"] as const)("is not believed while the CRD is %s: released, undo nothing", (crd) => {
    expect(down(doneRow(), { crd })).toEqual({ kind: "orphan", release: true });
  });

  test("never runs under another cluster's id", () => {
    expect(down(doneRow({ clusterID: "another" }))).toEqual({ kind: "orphan", release: true });
    expect(down(deletingRow({ clusterID: "another" }))).toEqual({ kind: "orphan", release: true });
  });

  test.each([
    ["begun", {}],
    ["a pending cleanup", { released: true, undone: ["secret"] }],
    ["in its grace", { released: true, locked: ["secret"], purgeAt: seconds(60).toISOString() }],
    ["all but said", { released: true, undone: ["secret", "newapi", "keycloak"] }],
  ] as const)("whose cluster was lost (%s) leaves an orphan, and nothing is undone for it again", (_what, deleting) => {
    const row = deletingRow({ clusterID: "another" }, deleting);
    const successor = { uid: "u-2", namespace: "tenant-a", name: "ada-new", createdAt: NOW };
    const others = { observation: ABSENT, successor };
    expect(down(row, others)).toEqual({ kind: "orphan", release: false });
    for (const clusterID of ["another", CLUSTER]) {
      expect(down({ ...row, clusterID, state: "orphaned" }, others)).toEqual({ kind: "idle", why: "ended" });
    }
  });

  test.each(["deleted", "retained"] as const)("that has ended as %s in a lost cluster stays what it is", (state) => {
    const row = deletingRow({ clusterID: "another", state });
    expect(down(row, { observation: ABSENT })).toEqual({ kind: "idle", why: "ended" });
  });

  test("goes Secret, gateway, Keycloak, deleted, released", () => {
    expect(down(deletingRow())).toEqual({ kind: "down", step: "secret", how: "remove" });
    expect(down(deletingRow({}, { undone: ["secret"] }))).toEqual({ kind: "down", step: "newapi", how: "remove" });
    expect(down(deletingRow({}, { undone: ["secret", "newapi"] }))).toEqual({
      kind: "down",
      step: "keycloak",
      how: "remove",
    });
    const all = { undone: ["secret", "newapi", "keycloak"] as const };
    expect(down(deletingRow({}, all))).toEqual({ kind: "deleted" });
    expect(down(deletingRow({ state: "deleted" }, all))).toEqual({ kind: "release", cleanupPending: false });
  });

  test("continues when somebody stripped the finalizer meanwhile", () => {
    expect(down(deletingRow({}, { undone: ["secret"] }), { observation: ABSENT })).toMatchObject({
      kind: "down",
      step: "newapi",
    });
  });

  test("needs no Tenant", () => {
    expect(down(deletingRow(), { tenant: undefined })).toMatchObject({ kind: "down" });
  });

  test("waits behind a closed upstream, but not for one that is not needed", () => {
    expect(down(deletingRow({}, { undone: ["secret"] }), { closed: { newapi: silent } })).toMatchObject({
      kind: "wait",
      until: seconds(1),
    });
    expect(down(deletingRow(), { closed: { newapi: silent } })).toMatchObject({ kind: "down", step: "secret" });
  });

  test("waits behind a refused credential no longer than its object may be held", () => {
    const row = deletingRow({}, { undone: ["secret"] });
    const late = seconds(RELEASE_AFTER_MS / 1000 - 10);
    const closed = { newapi: { why: "refuses", until: seconds(30, late) } } as const;
    expect(down(row, { closed }, late)).toMatchObject({ kind: "wait", until: seconds(10, late) });
    expect(down(row, { closed }, seconds(10, late))).toEqual({ kind: "release", cleanupPending: true });
  });

  test("with Retain everything stays, then it is released", () => {
    expect(down(deletingRow({ deletionPolicy: "Retain" }))).toEqual({ kind: "retain" });
    expect(down(deletingRow({ deletionPolicy: "Retain", state: "retained" }))).toEqual({
      kind: "release",
      cleanupPending: false,
    });
  });

  test("with a Retain that the Tenant does not allow nothing stays, and nothing is lost at once: locked for 30 days", () => {
    const forbids = { tenant: tenantView({ allowsRetain: false, deletionGraceMs: 1000 }) };
    const retain = { ...gone, deletionPolicy: "Retain" } as Extract<typeof gone, { kind: "deleting" }>;
    const begin = {
      kind: "begin-down",
      deletionPolicy: "Delete",
      purgeAt: new Date(seconds(-5).getTime() + WITHHELD_MS),
    };
    expect(down(doneRow(), { ...forbids, observation: retain })).toMatchObject(begin);
    // The last word cannot be read: what was recorded counts.
    const unread = { ...retain, deletionPolicy: undefined };
    expect(down(doneRow({ deletionPolicy: "Retain" }), { ...forbids, observation: unread })).toMatchObject(begin);
    const allows = { tenant: tenantView({ allowsRetain: true, deletionGraceMs: 1000 }), observation: retain };
    expect(down(doneRow(), allows)).toMatchObject({ kind: "begin-down", purgeAt: seconds(-4) });
    expect(down(doneRow(), allows)).not.toHaveProperty("deletionPolicy");
    expect(down(doneRow(), forbids)).toMatchObject({ purgeAt: seconds(-4) });
  });

  test("hands over to the one who waits for the email, but not what is to be retained", () => {
    const successor = { uid: "u-2", namespace: "tenant-a", name: "ada-new", createdAt: NOW };
    expect(down(deletingRow(), { successor })).toEqual({ kind: "hand-over", to: successor });
    expect(down(deletingRow({ deletionPolicy: "Retain" }), { successor })).toEqual({ kind: "retain" });
  });

  test("an ended row lets an object of its uid go, and is not deleted twice", () => {
    expect(down(doneRow({ state: "retained" }))).toEqual({ kind: "release", cleanupPending: false });
    expect(down(doneRow({ state: "orphaned" }))).toEqual({ kind: "release", cleanupPending: false });
  });

  test("after ten minutes of failing the object is released, and the rest is a cleanup that is still paid", () => {
    const late = new Date(NOW.getTime() + RELEASE_AFTER_MS);
    const row = deletingRow({ backoffUntil: new Date(late.getTime() + 60_000) }, { undone: ["secret"] });
    expect(down(row, {}, late)).toEqual({ kind: "release", cleanupPending: true });
    const released = deletingRow({}, { undone: ["secret"], released: true });
    expect(down(released, { observation: ABSENT }, late)).toEqual({ kind: "down", step: "newapi", how: "remove" });
  });

  test("a long pause does not hold the object beyond those ten minutes", () => {
    const releaseAt = new Date(NOW.getTime() + RELEASE_AFTER_MS);
    const row = deletingRow({ backoffUntil: seconds(3600) });
    expect(down(row, {}, seconds(1))).toEqual({ kind: "sleep", until: releaseAt });
  });

  describe("with grace", () => {
    const purgeAt = seconds(3600).toISOString();
    const locked = ["secret", "newapi", "keycloak"] as const;

    test("locks first, in the same order, then lets the object go", () => {
      expect(down(deletingRow({}, { purgeAt }))).toEqual({ kind: "down", step: "secret", how: "lock" });
      expect(down(deletingRow({}, { purgeAt, locked: ["secret"] }))).toEqual({
        kind: "down",
        step: "newapi",
        how: "lock",
      });
      expect(down(deletingRow({}, { purgeAt, locked }))).toEqual({ kind: "release", cleanupPending: false });
    });

    test("sleeps until the purge, then undoes everything for good", () => {
      const row = deletingRow({}, { purgeAt, locked, released: true });
      expect(down(row, { observation: ABSENT })).toEqual({ kind: "sleep", until: seconds(3600) });
      expect(down(row, { observation: ABSENT }, seconds(3600))).toEqual({
        kind: "down",
        step: "secret",
        how: "remove",
      });
      const purged = deletingRow({}, { purgeAt, locked, released: true, undone: [...locked] });
      expect(down(purged, { observation: ABSENT }, seconds(3600))).toEqual({ kind: "deleted" });
    });
  });
});
