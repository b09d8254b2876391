import { REASON } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { UserEvent } from "../api/userEvent.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock, Random } from "../lib/clock.ts";
import { isSagaError, type SagaError, TransientError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Situation } from "../saga/report.ts";
import type { RowPatch, SagaRow, StepName } from "../saga/row.ts";
import type { Step, StepContext } from "../steps/step.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { Binding } from "../store/bindings.ts";
import type { Waiter } from "../store/waiting.ts";
import type { Claim, Recording } from "../store/claims.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import type { Crowd } from "./crowd.ts";
import type { TenantBreakers } from "./tenantBreakers.ts";

export interface ClaimDeps {
  readonly cluster: Cluster;
  readonly clusterID: string;
  readonly tenants: TenantRegistry;
  readonly steps: readonly Step[];
  readonly breakers: Breakers;
  readonly tenantBreakers: TenantBreakers;
  readonly record: (claim: Claim, recording: Recording) => Promise<Claim | undefined>;
  /** Keeps entries that no record has taken; may be given some that one has, when its answer was lost. Never throws. */
  readonly keepAudit: (entries: readonly AuditEntry[]) => void;
  /** Undefined: the lease is lost. */
  readonly moveEmail: (row: SagaRow, email: string) => Promise<Binding | undefined>;
  readonly firstWaiter: (tenantID: string, email: string) => Promise<Waiter | undefined>;
  /** One who waits no more: its object is gone. */
  readonly forgetWaiter: (uid: string) => Promise<void>;
  readonly handOver: (claim: Claim, to: Waiter) => Promise<boolean>;
  /** False: somebody living holds that uuid. */
  readonly takeOver: (claim: Claim, uuid: string) => Promise<boolean>;
  /** Somebody of this tenant came to another state. */
  readonly counted: (tenantID: string) => void;
  /** Something was let go that others of this tenant may wait for. */
  readonly released: (tenantID: string) => void;
  /** The API server refused us something in this namespace. */
  readonly doubt: (namespace: string) => void;
  /** Runs what calls a neighbour, with not too many at that origin at once. */
  readonly crowd: Crowd;
  readonly observe: (outcome: { step: StepName; direction: "up" | "down"; outcome: string; ms: number }) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** One claim being worked on. */
export interface Work {
  readonly deps: ClaimDeps;
  readonly signal: AbortSignal;
  /** The row as last recorded. */
  claim: Claim;
  /** Read once per claim: what changes meanwhile touches the row, and the next claim reads it. */
  object: LiveTenantUser | undefined;
  /** Who gets the saga of an object that goes, as last looked. */
  heir: Waiter | undefined;
  /** Outside writes since the last record. */
  audit: AuditEntry[];
  readonly carry: StepContext["carry"];
}

/** How a claim ends. */
export interface End {
  readonly patch: RowPatch;
  /** When the row is due again; null: when something touches it. */
  readonly dueAt: Date | null;
  /** What to say on the object; undefined: nothing. */
  readonly situation: Situation | undefined;
  readonly events: readonly UserEvent[];
  /** The row holds its email and its place no longer: those who wait look again, once that is recorded. */
  readonly frees?: boolean;
}

/** Thrown when a record finds its lease gone: somebody else works on this row now. */
export class LeaseLost extends Error {}

/** Thrown when the claim has given its row away by itself: nothing of it can come late. */
export class GivenAway extends LeaseLost {}

export function nowOf(work: Work): Date {
  return new Date(work.deps.clock.now());
}

export function tenantOf(work: Work): TenantAccess | undefined {
  return work.deps.tenants.get(work.claim.row.tenantID);
}

/** Records and goes on under the same lease. */
export async function keep(work: Work, patch: RowPatch, events: readonly UserEvent[] = []): Promise<void> {
  const next = await work.deps.record(work.claim, { patch, lease: "keep", audit: work.audit, events });
  work.audit = [];
  if (next === undefined) throw new LeaseLost();
  work.claim = next;
}

/** Does something in the cluster; what goes wrong is an answer. */
export async function attempt(act: () => Promise<void>): Promise<SagaError | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    return asSagaError(error, "kubernetes");
  }
}

/** What nobody expected counts as passing: it is tried again, and its text is nobody's business. */
export function asSagaError(error: unknown, where: string): SagaError {
  if (isSagaError(error)) return error;
  const name = error instanceof Error ? error.name : typeof error;
  return new TransientError({
    code: REASON.NeighbourUnavailable,
    message: `${where}: an unexpected failure (${name}); it is tried again.`,
    cause: error,
  });
}

/** One line per outcome. */
export function tell(
  work: Work,
  outcome: string,
  level: "info" | "warn",
  message: string,
  more: Record<string, unknown> = {},
): void {
  const { row } = work.claim;
  work.deps.log[level](message, {
    saga: row.uuid,
    ns: row.namespace,
    name: row.name,
    gen: work.object?.metadata.generation,
    outcome,
    ...more,
  });
}
