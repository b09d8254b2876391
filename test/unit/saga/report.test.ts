import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type TenantUserStatus, tenantUserStatus } from "../../../src/api/tenantUser.ts";
import { desire } from "../../../src/saga/desired.ts";
import { report, type Reported, sameStatus, type Situation } from "../../../src/saga/report.ts";
import type { SagaRow } from "../../../src/saga/row.ts";
import {
  deletingRow,
  doneRow,
  handled,
  NOW,
  readyCondition,
  sagaRow,
  seconds,
  tenant,
  tenantUser,
} from "../../support/builders.ts";

const desired = desire(tenantUser().build(), tenant());
const error = {
  step: "keycloak",
  class: "transient",
  code: "UpstreamUnavailable",
  upstreamStatus: 503,
  message: "Keycloak answered 503.",
  at: NOW.toISOString(),
} as const;

function said(row: SagaRow | undefined, situation: Situation, given: Partial<Reported> = {}): TenantUserStatus {
  return report({ row, generation: 2, desired, situation, previous: undefined, ...given }, NOW);
}

function conditionOf(status: TenantUserStatus, type: string) {
  return status.conditions?.find((condition) => condition.type === type);
}

const situations = {
  ready: { kind: "ready" },
  retrying: { kind: "retrying", nextAt: seconds(4) },
  waiting: { kind: "waiting", reason: "EmailInUse", message: "Somebody has it." },
  stalled: { kind: "stalled", reason: "NotAllowed", message: "Remove it." },
  suspended: { kind: "suspended" },
  deleting: { kind: "deleting", message: "Being undone.", nextAt: seconds(4) },
} satisfies Record<string, Situation>;

describe("a lockout by Keycloak", () => {
  const locked = doneRow({ handled: handled({ lockedOut: true }) });

  test("is Ready with its reason, for it must not stop a Kustomization, and KeycloakReady is not", () => {
    const status = said(locked, situations.ready);
    expect(conditionOf(status, "Ready")).toMatchObject({ status: "True", reason: "LockedByKeycloak" });
    expect(conditionOf(status, "KeycloakReady")).toMatchObject({ status: "False", reason: "LockedByKeycloak" });
    expect(conditionOf(status, "Stalled")).toBeUndefined();
    expect(conditionOf(status, "Ready")?.message).toContain("spec.enabled to false");
  });

  test("hides neither a spec that disables the person nor a quota that is used up", () => {
    const disabled = { ...desired, enabled: false };
    const status = said(locked, situations.ready, { desired: disabled });
    expect(conditionOf(status, "Ready")).toMatchObject({ reason: "Disabled" });
    expect(conditionOf(status, "KeycloakReady")).toMatchObject({ status: "True" });
    const exhausted = doneRow({ handled: handled({ lockedOut: true, key: "exhausted" }) });
    expect(conditionOf(said(exhausted, situations.ready), "Ready")).toMatchObject({ reason: "QuotaExhausted" });
  });
});

describe("what tools read (kstatus)", () => {
  test.each([
    ["ready", { Ready: "True", Reconciling: undefined, Stalled: undefined }],
    ["retrying", { Ready: "False", Reconciling: "True", Stalled: undefined }],
    ["waiting", { Ready: "False", Reconciling: "True", Stalled: undefined }],
    ["stalled", { Ready: "False", Reconciling: undefined, Stalled: "True" }],
    ["deleting", { Ready: "False", Reconciling: "True", Stalled: undefined }],
  ] as const)("%s", (kind, expected) => {
    const row = kind === "ready" ? doneRow() : kind === "deleting" ? deletingRow() : sagaRow();
    const status = said(row, situations[kind]);
    const shown = Object.fromEntries(Object.keys(expected).map((type) => [type, conditionOf(status, type)?.status]));
    expect(shown).toEqual(expected);
  });

  test("observedGeneration moves with every outcome, failures included", () => {
    for (const situation of Object.values(situations)) {
      const status = said(doneRow({ lastError: error, retryCount: 3 }), situation);
      expect(status.observedGeneration).toBe(2);
      expect(status.conditions?.every((condition) => condition.observedGeneration === 2)).toBe(true);
    }
  });

  test("never two of Reconciling and Stalled, and Ready always: whatever the row", () => {
    const row = fc.constantFrom(
      undefined,
      sagaRow(),
      doneRow(),
      deletingRow(),
      sagaRow({ state: "failed", retryCount: 9, lastError: error }),
      doneRow({ state: "failed" }),
    );
    const previous = fc.constantFrom<(TenantUserStatus | undefined)[]>(
      undefined,
      { observedGeneration: -1 },
      { observedGeneration: 1, conditions: [readyCondition()] },
    );
    fc.assert(
      fc.property(row, fc.constantFrom(...Object.values(situations)), previous, (aRow, situation, before) => {
        const status = said(aRow, situation, { previous: before });
        const ready = conditionOf(status, "Ready");
        expect(ready).toBeDefined();
        expect(conditionOf(status, "Reconciling") !== undefined && conditionOf(status, "Stalled") !== undefined).toBe(
          false,
        );
        expect(ready?.status === "True" && conditionOf(status, "Stalled") !== undefined).toBe(false);
        expect(tenantUserStatus.parse(status)).toEqual(status);
        expect(sameStatus(status, said(aRow, situation, { previous: status }))).toBe(true);
      }),
    );
  });
});

describe("Ready", () => {
  test("says so when the key was tried, and what else it may mean", () => {
    const of = (row: SagaRow, spec = {}) =>
      conditionOf(
        said(row, { kind: "ready" }, { desired: desire(tenantUser().withSpec(spec).build(), tenant()) }),
        "Ready",
      );
    expect(of(doneRow())).toMatchObject({ status: "True", reason: "Ready" });
    expect(of(doneRow({ handled: handled({ key: "unverified" }) }))).toMatchObject({
      status: "True",
      reason: "KeyNotVerified",
    });
    expect(of(doneRow({ handled: handled({ key: "exhausted" }) }))).toMatchObject({
      status: "False",
      reason: "QuotaExhausted",
    });
    expect(of(doneRow(), { enabled: false })).toMatchObject({ status: "True", reason: "Disabled" });
  });

  test("stays True through a retry, until the person has really failed", () => {
    const previous = { observedGeneration: 1, conditions: [readyCondition()] };
    const retrying = situations.retrying;
    const of = (row: SagaRow) => conditionOf(said(row, retrying, { previous }), "Ready");
    expect(of(doneRow({ retryCount: 2, lastError: error }))).toMatchObject({ status: "True", reason: "Ready" });
    expect(of(doneRow({ retryCount: 5, lastError: error, state: "failed" }))).toMatchObject({
      status: "False",
      reason: "UpstreamUnavailable",
    });
  });

  test("failed is tried again, with Reconciling, and is never Stalled", () => {
    const status = said(sagaRow({ state: "failed", retryCount: 5, lastError: error }), situations.retrying);
    expect(conditionOf(status, "Reconciling")).toMatchObject({ status: "True", reason: "ProgressingWithRetry" });
    expect(conditionOf(status, "Stalled")).toBeUndefined();
    expect(status).toMatchObject({
      state: "failed",
      retryCount: 5,
      nextRetryAt: seconds(4).toISOString(),
      lastError: { step: "keycloak", class: "transient", upstreamStatus: 503 },
    });
  });

  test("one who waits behind an upstream that is down is not ready; one who was ready stays it", () => {
    const down: Situation = { kind: "waiting", reason: "UpstreamUnavailable", message: "keycloak does not answer." };
    expect(conditionOf(said(sagaRow(), down), "Ready")).toMatchObject({
      status: "False",
      reason: "UpstreamUnavailable",
    });
    const previous = { observedGeneration: 1, conditions: [readyCondition()] };
    const status = said(doneRow(), down, { previous });
    expect(conditionOf(status, "Ready")).toMatchObject({ status: "True", reason: "Ready" });
    expect(conditionOf(status, "Reconciling")).toMatchObject({ status: "True", reason: "UpstreamUnavailable" });
  });

  test("suspending leaves it as it was", () => {
    const previous = { observedGeneration: 1, conditions: [readyCondition()] };
    const status = said(doneRow(), { kind: "suspended" }, { previous });
    expect(conditionOf(status, "Ready")).toMatchObject({
      status: "True",
      reason: "Ready",
      lastTransitionTime: "2026-05-01T11:30:00Z",
    });
    expect(conditionOf(status, "Suspended")?.status).toBe("True");
    expect(conditionOf(status, "Stalled")).toBeUndefined();
  });

  test("one who was never ready is Stalled while suspended: only a person can continue", () => {
    const status = said(sagaRow(), { kind: "suspended" });
    expect(conditionOf(status, "Ready")).toMatchObject({ status: "False", reason: "Suspended" });
    expect(conditionOf(status, "Stalled")).toMatchObject({ status: "True", reason: "Suspended" });
  });
});

describe("the rest of the status", () => {
  test("an object without a row is waiting, and has nothing else to tell", () => {
    const status = said(undefined, situations.waiting);
    expect(status).toMatchObject({ state: "waiting", retryCount: 0 });
    expect(status).not.toHaveProperty("userUUID");
    expect(status.conditions?.map((condition) => condition.type)).toEqual(["Ready", "Reconciling"]);
  });

  test("shows ids and the Secret once they are there", () => {
    const row = doneRow();
    expect(said(row, { kind: "ready" })).toMatchObject({
      state: "done",
      userUUID: row.uuid,
      keycloak: { userID: "kc-1" },
      newapi: { userID: "na-1", username: row.newapiUsername },
      secretName: row.secretName,
      binding: { name: row.secretName },
      key: { generation: 0 },
    });
  });

  test("names no Secret before it is there", () => {
    const row = sagaRow({ secretNamespace: "tenant-a", secretName: "newapi-key-x" });
    expect(said(row, situations.retrying)).not.toHaveProperty("secretName");
  });

  test("one condition per step tells how far it is", () => {
    const status = said(sagaRow({ reached: "kc_created", state: "kc_created" }), situations.retrying);
    expect(conditionOf(status, "KeycloakReady")?.status).toBe("True");
    expect(conditionOf(status, "NewAPIReady")?.status).toBe("Unknown");
    expect(conditionOf(status, "SecretReady")?.status).toBe("Unknown");
  });

  test("the failing step says why", () => {
    const status = said(doneRow({ retryCount: 1, lastError: error }), situations.retrying);
    expect(conditionOf(status, "KeycloakReady")).toMatchObject({ status: "False", reason: "UpstreamUnavailable" });
    expect(conditionOf(status, "NewAPIReady")?.status).toBe("True");
  });

  test("what the gateway cannot follow is said where it belongs, and does not hold up Ready", () => {
    const row = doneRow({ handled: handled({ notes: ["newapi: This gateway knows no quota."] }) });
    const status = said(row, { kind: "ready" });
    expect(conditionOf(status, "NewAPIReady")).toMatchObject({
      status: "True",
      reason: "NotSupportedByGateway",
      message: "This gateway knows no quota.",
    });
    expect(conditionOf(status, "Ready")?.status).toBe("True");
  });

  test("going down the steps say what is undone", () => {
    const status = said(deletingRow({}, { undone: ["secret"] }), situations.deleting);
    expect(conditionOf(status, "SecretReady")).toMatchObject({ status: "False", message: "Removed or disabled." });
    expect(conditionOf(status, "KeycloakReady")).toMatchObject({ status: "False", message: "Not removed yet." });
  });

  test("the last error stays for reading after it was overcome", () => {
    const before = said(sagaRow({ lastError: error, retryCount: 1 }), situations.retrying);
    expect(said(doneRow(), { kind: "ready" }, { previous: before }).lastError).toEqual(before.lastError);
  });
});

describe("nothing changed means no write", () => {
  test("saying the same later is the same", () => {
    const first = said(doneRow(), { kind: "ready" });
    const later = report(
      { row: doneRow(), generation: 2, desired, situation: { kind: "ready" }, previous: first },
      seconds(3600),
    );
    expect(sameStatus(first, later)).toBe(true);
  });

  test("also after the API server has had it", () => {
    const first = said(doneRow({ lastError: error }), { kind: "ready" });
    const stored = tenantUserStatus.parse(JSON.parse(JSON.stringify(first)));
    expect(sameStatus(stored, said(doneRow({ lastError: error }), { kind: "ready" }, { previous: stored }))).toBe(true);
  });

  test("a status that is not there yet is another one", () => {
    expect(sameStatus(undefined, said(doneRow(), { kind: "ready" }))).toBe(false);
    expect(sameStatus({ observedGeneration: -1 }, said(doneRow(), { kind: "ready" }))).toBe(false);
  });

  test("a condition's time moves only with its status", () => {
    const first = said(doneRow(), { kind: "ready" });
    const later = report(
      { row: doneRow(), generation: 3, desired, situation: situations.stalled, previous: first },
      seconds(60),
    );
    expect(conditionOf(later, "Ready")?.lastTransitionTime).toBe("2026-05-01T12:01:00Z");
    expect(conditionOf(later, "KeycloakReady")?.lastTransitionTime).toBe("2026-05-01T12:00:00Z");
  });
});
