import { REASON } from "../api/reasons.ts";
import { isSagaError, isSilence, type SagaError, TransientError, UnreadableError } from "../lib/errors.ts";
import { TENANT_FAULTS } from "../saga/tenantFaults.ts";
import type { Closed, TenantUpstream } from "../saga/decide.ts";
import { originAt, type TenantAccess } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import type { TenantBreakers } from "./tenantBreakers.ts";

export interface Judges {
  readonly breakers: Pick<Breakers, "success" | "failure">;
  readonly tenantBreakers: Pick<TenantBreakers, "recordAccepted" | "recordAuthFailure" | "recordSilence">;
}

export interface Barriers {
  readonly breakers: Pick<Breakers, "ask">;
  readonly tenantBreakers: Pick<TenantBreakers, "ask">;
}

/** Why nobody of the tenant goes to its upstream at the moment; undefined: they do. */
export function closedTo(
  { breakers, tenantBreakers }: Barriers,
  { tenantID, spec }: TenantAccess,
  upstream: TenantUpstream,
): Closed | undefined {
  const until = breakers.ask(originAt(spec, upstream));
  return until === undefined ? tenantBreakers.ask(tenantID, upstream) : { why: "silent", until };
}

/** What nobody expected counts as passing: the worker retries it, and its text is nobody's business. */
export function asSagaError(error: unknown, where: string): SagaError {
  if (isSagaError(error)) return error;
  const name = error instanceof Error ? error.name : typeof error;
  return new TransientError({
    code: REASON.UpstreamUnavailable,
    message: `${where} failed unexpectedly (${name}). The reconciler retries it.`,
    cause: error,
  });
}

/** A call that failed: whose it was, where, and since when it lasted. */
export interface FailedCall {
  readonly origin: string;
  readonly tenantID: string;
  readonly person: string;
  readonly failure: SagaError;
  readonly began: number;
}

/**
 * What a failure says of the upstream. Silence counts against its origin, and against the tenant there; a 500 is about the
 * person and counts against nobody. What no upstream answers counts against the tenant: each such answer takes long to look
 * through, and its people wait until the Tenant's check can read one. Everything else is an answer. The API server's failure
 * is not the upstream's.
 */
export function judgeCall({ breakers, tenantBreakers }: Judges, call: FailedCall): void {
  const { origin, tenantID, person, failure, began } = call;
  const { upstream } = failure;
  if (upstream !== "keycloak" && upstream !== "newapi") return;
  if (isSilence(failure)) {
    breakers.failure(origin, began);
    tenantBreakers.recordSilence(tenantID, upstream, person, began);
    return;
  }
  if (failure instanceof UnreadableError) tenantBreakers.recordSilence(tenantID, upstream, person, began);
  if (failure.class === "transient") return;
  if (failure.upstreamStatus !== undefined) breakers.success(origin);
  if (failure.class === "terminal" && TENANT_FAULTS.includes(failure.code)) {
    tenantBreakers.recordAuthFailure(tenantID, upstream);
  } else if (failure.upstreamStatus !== undefined) tenantBreakers.recordAccepted(tenantID, upstream);
}
