import { CONDITION, REASON } from "../api/reasons.ts";
import type { LiveTenantUser, TenantUserStatus } from "../api/tenantUser.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import type { SagaError } from "../lib/errors.ts";
import type { Tracer } from "../lib/tracing.ts";
import { changedReadiness, conditionOf } from "../saga/conditions.ts";
import { report, sameStatus, type Situation } from "../saga/report.ts";
import type { SagaRow } from "../saga/row.ts";
import type { HeldBack } from "../store/bindings.ts";
import { asSagaError } from "./judge.ts";
import type { Observed } from "./observe.ts";

export interface StatusDeps {
  readonly cluster: Pick<Cluster, "applyTenantUserStatus" | "recordEvent">;
  readonly tracer: Tracer;
  readonly clock: Clock;
}

/**
 * Writes the object's status when it differs; `row` is as it will be recorded. Returns the failure when the status could
 * not be written and the worker must try again.
 */
export async function writeStatus(
  deps: StatusDeps,
  { object, input: { observation } }: Observed,
  row: SagaRow,
  situation: Situation | undefined,
  signal: AbortSignal,
): Promise<SagaError | undefined> {
  if (situation === undefined || object === undefined || observation.kind === "absent") return undefined;
  const previous = object.status;
  const { generation } = object.metadata;
  const desired = observation.kind === "present" ? observation.desired : undefined;
  const status = report({ row, generation, desired, situation, previous }, new Date(deps.clock.now()));
  if (sameStatus(previous, status)) return undefined;
  try {
    const reason = conditionOf(status, CONDITION.Ready)?.reason;
    await deps.tracer.inSpan("write status", { attributes: { "unified_rbac.reason": reason } }, () =>
      deps.cluster.applyTenantUserStatus(object, status, signal),
    );
  } catch (error) {
    return asSagaError(error, "kubernetes");
  }
  await announce(deps, object, status, signal);
  return undefined;
}

/** What an object says that is not bound. */
export function heldBack({ kind, reason, message }: HeldBack): Situation {
  return kind === "waiting" ? { kind, reason, message } : { kind: "stalled", reason, message };
}

/** An Event per change of what Ready says, never per retry. */
async function announce(
  deps: StatusDeps,
  object: LiveTenantUser,
  status: TenantUserStatus,
  signal: AbortSignal,
): Promise<void> {
  const ready = changedReadiness(object.status, status);
  if (ready === undefined) return;
  const { reason, message: note } = ready;
  const isCalm = ready.status === "True" || reason === REASON.Deleting || reason === REASON.Progressing;
  await deps.tracer.inSpan("record event", { attributes: { "unified_rbac.reason": reason } }, () =>
    recordEvent(deps, object, { type: isCalm ? "Normal" : "Warning", reason, note }, signal),
  );
}

export async function recordEvent(
  { cluster }: Pick<StatusDeps, "cluster">,
  { metadata: { namespace, name, uid } }: LiveTenantUser,
  event: { readonly type: "Normal" | "Warning"; readonly reason: string; readonly note: string },
  signal: AbortSignal,
): Promise<void> {
  const object = { kind: "TenantUser", namespace, name, uid } as const;
  await cluster.recordEvent({ object, action: "Reconcile", ...event }, signal);
}
