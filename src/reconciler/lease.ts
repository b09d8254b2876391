import { randomUUID } from "node:crypto";
import type { UserEvent } from "../api/userEvent.ts";
import { patched, type RowPatch, type SagaRow } from "../saga/row.ts";
import type { AuditEntry } from "../store/audit.ts";
import { afterRecord, type Claim, type Recorded, type Recording } from "../store/claims.ts";

/** Undefined: the lease is lost. */
export type RecordClaim = (claim: Claim, recording: Recording) => Promise<Recorded | undefined>;

/** A record found its lease gone: another worker has the row by now. */
export class LeaseLost extends Error {}

/**
 * A claim while this worker holds it: the row as last recorded, and the outside writes that no record has taken yet. Every
 * record is fenced and takes them along; it throws {@link LeaseLost} when the lease is gone.
 */
export interface Lease {
  claim(): Claim;
  row(): SagaRow;
  /** Records and renews the lease: the claim continues. */
  recordAndContinue(patch: RowPatch, events?: readonly UserEvent[]): Promise<void>;
  /** Records and ends the claim; the row is due at `dueAt`, or (null) when something touches it. */
  recordAndEnd(patch: RowPatch, dueAt: Date | null, events?: readonly UserEvent[]): Promise<void>;
  /** Another statement has recorded this under the same version. */
  learn(patch: RowPatch): void;
  /** Notes an outside write for the next record. */
  wrote(entry: Omit<AuditEntry, "id">): void;
  /** The outside writes that no record has taken. */
  unrecorded(): readonly AuditEntry[];
}

/** `traceparent`: of the trace that the claim's events belong to. */
export function holdLease(record: RecordClaim, taken: Claim, traceparent?: string): Lease {
  let claim = taken;
  let audit: AuditEntry[] = [];

  async function put(recording: Omit<Recording, "audit">): Promise<void> {
    const recorded = await record(claim, { ...recording, audit, traceparent });
    // Also where the lease is lost: what was written outside was written, and is recorded as that.
    audit = [];
    if (recorded === undefined) throw new LeaseLost();
    claim = afterRecord(claim, recording.patch, recorded);
  }

  return {
    claim: () => claim,
    row: () => claim.row,
    recordAndContinue: (patch, events = []) => put({ patch, lease: "keep", events }),
    recordAndEnd: (patch, dueAt, events = []) => put({ patch, lease: { dueAt }, events }),
    learn: (patch) => {
      claim = { ...claim, row: patched(claim.row, patch) };
    },
    wrote: (entry) => void audit.push({ id: randomUUID(), ...entry }),
    unrecorded: () => audit,
  };
}
