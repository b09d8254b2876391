/** The key before a rotation: how long it lives, and that its end is not forgotten. */
import { describe, expect, test } from "vitest";
import { WaitingError } from "../../../src/lib/errors.ts";
import { afterEnd, afterFinish, afterUp } from "../../../src/saga/advance.ts";
import { afterFailure } from "../../../src/saga/failure.ts";
import { decide } from "../../../src/saga/decide.ts";
import { desire } from "../../../src/saga/desired.ts";
import { report } from "../../../src/saga/report.ts";
import { patched, type Run, type SagaRow } from "../../../src/saga/row.ts";
import {
  doneRow,
  handled,
  NOW,
  readyCondition,
  seconds,
  observationOf,
  tenant,
  tenantUser,
  tenantView,
  decisionInput,
} from "../../support/builders.ts";

const user = tenantUser()
  .withSpec({ key: { generation: 1, overlap: "1h" } })
  .build();
const desired = desire(user, tenant());
const HOUR = seconds(3600);
const run = (given: Partial<Run> = {}): Run => ({
  reason: "rotate",
  generation: 1,
  step: "secret",
  attempt: 0,
  done: true,
  rotated: true,
  ...given,
});
const rotated = (given: Partial<SagaRow> = {}) => doneRow({ keyGeneration: 1, previousKeyUntil: HOUR, ...given });
const at = (row: SagaRow, now: Date) => decide(decisionInput({ row, observation: observationOf(user) }), now);

describe("after a rotation", () => {
  const rotating = doneRow({ rotation: { toGeneration: 1 } });
  const finished = (given: Partial<Run>) => afterFinish(rotating, run(given), desired, tenantView(), NOW);

  test("at a gateway that leaves the key before alive, its end is noted, and the row is due then", () => {
    const { patch, next } = finished({ leavesPrevious: true });
    expect(patch.previousKeyUntil).toEqual(HOUR);
    expect(next).toEqual({ kind: "retry", at: HOUR });
  });

  test("at another one there is nothing to end", () => {
    const { patch, next } = finished({});
    expect(patch).not.toHaveProperty("previousKeyUntil");
    expect(next).toEqual({ kind: "idle" });
  });

  test("the gateway's step says which it is", () => {
    const { patch } = afterUp(rotating, run({ step: "newapi", done: false }), { learned: {}, leavesPrevious: true });
    expect(patch.run).toMatchObject({ step: "secret", leavesPrevious: true });
  });
});

describe("during the overlap", () => {
  test("the row rests until its end, and is ready meanwhile", () => {
    expect(at(rotated(), NOW)).toEqual({ kind: "idle", why: "done", until: HOUR });
  });

  test("any other run leaves the end as it is, and the row due", () => {
    const edit = run({ reason: "edit", rotated: false, leavesPrevious: true });
    const { patch, next } = afterFinish(rotated(), edit, desired, tenantView(), NOW);
    expect(patch).not.toHaveProperty("previousKeyUntil");
    expect(next).toEqual({ kind: "retry", at: HOUR });
  });

  test("the status tells until when the key before works", () => {
    const status = report(
      { row: rotated(), generation: 1, desired, situation: { kind: "ready" }, previous: undefined },
      NOW,
    );
    expect(status.key?.previousUntil).toBe(HOUR.toISOString());
  });
});

describe("at its end", () => {
  test("the gateway's step has its turn, and not Keycloak's", () => {
    expect(at(rotated(), HOUR)).toMatchObject({ kind: "up", step: "newapi", run: { reason: "retire" } });
  });

  test("what is newer comes first", () => {
    expect(at(rotated({ handled: handled({ generation: 0 }) }), HOUR)).toMatchObject({ run: { reason: "edit" } });
  });

  test("a deletion forgets it: nothing of the person opens anything then", () => {
    expect(afterEnd(rotated(), "deleted", NOW).patch.previousKeyUntil).toBeNull();
  });
});

describe("waiting for a gateway's limit", () => {
  const until = new WaitingError({ code: "GatewayLimited", message: "It waits until noon.", retryAfterMs: 600_000 });
  const status = (row: SagaRow) =>
    report(
      {
        row,
        generation: 1,
        desired,
        situation: { kind: "waiting", reason: "GatewayLimited", message: "It waits until noon." },
        previous: { observedGeneration: 1, conditions: [readyCondition()] },
      },
      NOW,
    ).conditions?.find(({ type }) => type === "Ready");

  test("burns no retry, and lasts for as long as the gateway wants", () => {
    const row = doneRow({ run: run({ done: false }) });
    const { patch, next } = afterFailure(row, "secret", until, undefined, NOW, () => 0.5);
    expect(next).toEqual({ kind: "retry", at: seconds(600) });
    expect(patch).not.toHaveProperty("retryCount");
    expect(patched(row, patch).state).toBe("done");
  });

  test("leaves one ready whose key works all the while, and nobody else", () => {
    expect(status(doneRow({ rotation: { toGeneration: 1 } }))).toMatchObject({ status: "True", reason: "Ready" });
    expect(status(rotated({ run: run({ reason: "retire" }) }))).toMatchObject({ status: "True" });
    expect(status(doneRow({ run: run({ reason: "drift" }) }))).toMatchObject({
      status: "False",
      reason: "GatewayLimited",
    });
  });
});
