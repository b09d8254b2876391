import { CONDITION, REASON } from "../api/reasons.ts";
import type { TenantUserStatus } from "../api/tenantUser.ts";
import type { Sight } from "../saga/decide.ts";
import { report, sameStatus, type Situation } from "../saga/report.ts";
import type { SagaRow } from "../saga/row.ts";
import { attempt, nowOf, type Work } from "./work.ts";

/** What to read while it is tried again; `row` as it will be recorded. */
export function retrying(work: Work, nextAt: Date | undefined, row: SagaRow = work.claim.row): Situation {
  if (row.deleting === undefined) return { kind: "retrying", nextAt: nextAt ?? nowOf(work) };
  const said = row.lastError?.message;
  return {
    kind: "deleting",
    message: said === undefined ? "Being undone: Secret, gateway account, Keycloak user." : `Being undone. ${said}`,
    nextAt,
  };
}

/** Writes the status, when it differs. False: it could not be written and must be tried again. */
export async function say(work: Work, row: SagaRow, situation: Situation, sight: Sight): Promise<boolean> {
  const { object, deps, signal } = work;
  if (object === undefined || sight.kind === "absent") return true;
  const previous = object.status;
  const status = report(
    {
      row,
      generation: object.metadata.generation,
      desired: sight.kind === "present" ? sight.desired : undefined,
      situation,
      previous,
    },
    nowOf(work),
  );
  if (sameStatus(previous, status)) return true;
  const failure = await attempt(async () => {
    await deps.cluster.applyTenantUserStatus(object, status, signal);
  });
  if (failure !== undefined) return false;
  await announce(work, previous, status);
  return true;
}

/** An Event per change of what Ready says, never per retry. */
async function announce(work: Work, previous: TenantUserStatus | undefined, status: TenantUserStatus): Promise<void> {
  const ready = (of: TenantUserStatus | undefined) =>
    of?.conditions?.find((condition) => condition.type === CONDITION.Ready);
  const before = ready(previous);
  const after = ready(status);
  if (after === undefined || (before?.reason === after.reason && before.status === after.status)) return;
  const calm = after.status === "True" || after.reason === REASON.Deleting || after.reason === REASON.Progressing;
  await note(work, calm ? "Normal" : "Warning", after.reason, after.message);
}

export async function note(work: Work, type: "Normal" | "Warning", reason: string, sentence: string): Promise<void> {
  const { object, deps, signal } = work;
  if (object === undefined) return;
  const { namespace, name, uid } = object.metadata;
  await deps.cluster.recordEvent(
    { object: { kind: "TenantUser", namespace, name, uid }, type, reason, action: "Reconcile", note: sentence },
    signal,
  );
}
