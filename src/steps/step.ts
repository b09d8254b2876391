import type { AccountDeletion } from "../api/tenant.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { SagaError } from "../lib/errors.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import type { Account, Gateway } from "../gateway/gateway.ts";
import type { Realm } from "../keycloak/realm.ts";
import type { StepResult } from "../saga/advance.ts";
import type { Desired } from "../saga/desired.ts";
import type { RowPatch, SagaRow, StepName } from "../saga/row.ts";

/** What a write to the outside was, for the audit. */
export interface Written {
  readonly action: string;
  readonly target: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>> | undefined;
}

/** What an earlier step of the same claim saw, so that a later one need not ask again. Never stored. */
export interface Carry {
  account?: Account;
  /** A key that was made in this claim, and that nobody has yet. */
  freshKey?: Sensitive;
}

/** What a step works with; one per claim. */
export interface StepContext {
  readonly row: SagaRow;
  readonly cluster: Cluster;
  /** Throw a WaitingError while the tenant's credentials are missing. */
  readonly realm: () => Realm;
  readonly gateway: () => Gateway;
  /** What the Tenant wants to become of the gateway's account, once it goes for good. */
  readonly accountDeletion: AccountDeletion;
  /** Must be called after every outside write that changed something. */
  readonly wrote: (written: Written) => void;
  /** Records, fenced, what must be known before the next outside call: an intent. Throws when the lease is lost. */
  readonly note: (patch: RowPatch) => Promise<void>;
  readonly carry: Carry;
  readonly now: () => number;
}

export interface UpContext extends StepContext {
  readonly desired: Desired;
  readonly realmName: string;
  readonly adoption: "Never" | "Unclaimed";
  readonly allowedGroups: readonly string[];
  /** The platform lets this tenant speak for addresses of this domain. Absent: it does. */
  readonly vouched?: boolean | undefined;
  /** The worker session that sees this person for the first time; undefined: something was begun for it before. */
  readonly newIn: number | undefined;
}

/**
 * One upstream's part of the saga. `up` is ensure: find ours by both marks, create what is missing, correct what
 * differs, touch nothing else. `down` undoes it; anything already gone is success. Both may be cut anywhere and repeated.
 */
export interface Step {
  readonly name: StepName;
  /** Sends the mail that was refused before; what becomes of it stands in the row, and nothing fails because of it. */
  readonly invite?: (context: UpContext, signal: AbortSignal) => Promise<void>;
  up(context: UpContext, signal: AbortSignal): Promise<StepResult>;
  down(context: StepContext, how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch>;
}

/** The person's account carries another uuid than the row, or the row's is somebody else's: to be taken over, or waited for. */
export class CarriesUUID extends Error {
  readonly uuid: string;
  /** What to say when none of them may be taken over. */
  readonly refusal: SagaError;
  /** To be tried after it, in this order. */
  readonly others: readonly string[];

  constructor(uuid: string, refusal: SagaError, others: readonly string[] = []) {
    super(refusal.message, { cause: refusal });
    this.name = "CarriesUUID";
    this.uuid = uuid;
    this.refusal = refusal;
    this.others = others;
  }
}
