import type { Reason } from "../api/reasons.ts";
import type { SagaError } from "../lib/errors.ts";
import { afterFailure } from "../saga/advance.ts";
import type { Sight } from "../saga/decide.ts";
import type { Situation } from "../saga/report.ts";
import { type LastError, patched } from "../saga/row.ts";
import { failedEvent } from "./notices.ts";
import { retrying } from "./say.ts";
import { tenantView } from "./sight.ts";
import { type End, nowOf, tell, type Work } from "./work.ts";

/** How a claim ends whose action failed. */
export function failed(work: Work, step: LastError["step"], error: SagaError, sight: Sight): End {
  const now = nowOf(work);
  // Told to stop: the failure is ours, not the neighbour's. The row is due again for whoever comes next.
  if (work.signal.aborted) return { patch: {}, dueAt: now, situation: undefined, events: [] };
  const { row } = work.claim;
  const context = sight.kind === "present" ? { desired: sight.desired, tenant: tenantView(work) } : undefined;
  const { patch, next } = afterFailure(row, step, error, context, now, work.deps.random);
  const after = patched(row, patch);
  tell(work, error.class, error.class === "terminal" ? "warn" : "info", error.message, {
    step,
    attempt: after.retryCount,
    code: error.code,
    upstreamStatus: error.upstreamStatus,
  });
  const newlyFailed = after.state === "failed" && row.state !== "failed";
  return {
    patch,
    dueAt: next.kind === "retry" ? next.at : null,
    situation: situationOf(work, error, next.kind === "retry" ? next.at : undefined, after),
    events: newlyFailed ? [failedEvent(after, step, error.code, now)] : [],
  };
}

function situationOf(work: Work, error: SagaError, nextAt: Date | undefined, after: Work["claim"]["row"]): Situation {
  if (nextAt === undefined) return { kind: "stalled", reason: error.code, message: error.message };
  // Steps throw waiting errors with reasons of ours only.
  if (error.class === "waiting" && after.deleting === undefined) {
    return { kind: "waiting", reason: error.code as Reason, message: error.message };
  }
  return retrying(work, nextAt, after);
}
