import { type SagaState, STEP_NAMES, type StepName } from "../api/tenantUser.ts";

export type { SagaState, StepName };

/**
 * The saga's terminology and its durable record, as the pure code sees it. `state` is what people read: the furthest
 * point reached, or how it ended; `run` says what is being done right now.
 */
export const REACHED = ["pending", "kc_created", "newapi_created", "secret_applied", "done"] as const;
export type Reached = (typeof REACHED)[number];

/** In the order of going up; going down is the inverse. */
export const STEPS = STEP_NAMES;

/** What a finished step makes of `reached`. */
export const REACHED_BY: Readonly<Record<StepName, Reached>> = {
  keycloak: "kc_created",
  newapi: "newapi_created",
  secret: "secret_applied",
};

export type RunReason =
  "create" | "edit" | "tenant" | "requested" | "rotate" | "drift" | "handover" | "recovered" | "retire";

export interface Run {
  readonly reason: RunReason;
  /** metadata.generation that this run carries out. */
  readonly generation: number;
  readonly step: StepName;
  /** From 0; counts failures of this step in this run. */
  readonly attempt: number;
  /** All steps are through; what is left is to say so. */
  readonly done: boolean;
  /** What the secret step saw; for the report. */
  readonly key?: Handled["key"] | undefined;
  readonly notes?: readonly string[] | undefined;
  /** Keycloak has locked the person out, whom the spec wants enabled. */
  readonly lockedOut?: boolean | undefined;
  /** The run rotated the key. */
  readonly rotated?: boolean | undefined;
  /** What the run rotated is still alive at the gateway. */
  readonly leavesPrevious?: boolean | undefined;
  /** What it was begun under; absent in a run that only fixes what a finished one had seen. */
  readonly seen?: RunBasis | undefined;
}

/** What the object's generation does not tell, and a run carries out all the same. */
export interface RunBasis {
  readonly tenantRevision: string;
  readonly requestedAt?: string | undefined;
}

/** What the last finished run has seen: anything newer is work. */
export interface Handled extends RunBasis {
  readonly generation: number;
  readonly rotateRequestedAt?: string | undefined;
  /** What the gateway said of the key after it was written. `unverified`: the Tenant does not want it asked. */
  readonly key: "works" | "unverified" | "exhausted";
  /** What the account was last wanted to be, to see a change that the gateway cannot follow. */
  readonly tier?: string | undefined;
  readonly email?: string | undefined;
  /** What the gateway or realm cannot follow, as sentences; empty at most times. */
  readonly notes: readonly string[];
  /** Keycloak has locked the person out, whom the spec wants enabled. */
  readonly lockedOut?: boolean | undefined;
}

export interface LastError {
  readonly step: StepName | "admission" | "finalizer" | "release";
  readonly class: "transient" | "conflict" | "terminal" | "waiting";
  /** A reason of src/api/reasons.ts. */
  readonly code: string;
  readonly upstreamStatus?: number | undefined;
  readonly message: string;
  /** RFC 3339. */
  readonly at: string;
}

/** One entry, as `status.history` shows it. */
export interface HistoryEntry {
  /** RFC 3339. */
  readonly at: string;
  readonly generation?: number | undefined;
  readonly state: SagaState;
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  readonly message?: string | undefined;
}

/** What we gave this person and may therefore take away again. */
export interface Managed {
  readonly groups: readonly string[];
  readonly realmRoles: readonly string[];
  readonly attributes: readonly string[];
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
}

export const NOTHING_MANAGED: Managed = { groups: [], realmRoles: [], attributes: [], labels: [], annotations: [] };

/**
 * A key rotation, recorded before the gateway is asked. Whether the gateway has done it is seen by comparing: as long as
 * its key is the one in the Secret, it has not.
 */
export interface Rotation {
  readonly toGeneration: number;
  /** The annotation's value that asked for it, if one did. */
  readonly requestedAt?: string | undefined;
  /** RFC 3339: when it was decided, where its generation does not tell it from the one before. */
  readonly at?: string | undefined;
}

/** Accounts that somebody else had before this person: whatever still opens them is taken away before they are used. */
export type ResetAccount = Exclude<StepName, "secret">;

/** An invitation that Keycloak refused: it is sent again, and holds nothing up meanwhile. */
export interface RefusedInvitation {
  readonly keycloakUserID: string;
  /** How many times it was refused since something of it was corrected. */
  readonly attempts: number;
  /** One sentence. */
  readonly message: string;
  /** RFC 3339: when it is sent again. */
  readonly nextAt: string;
}

export interface SecretPlace {
  readonly namespace: string;
  readonly name: string;
}

/** A place beside the recorded one, where a Secret of this person may stand. */
export interface NotedPlace extends SecretPlace {
  /** The uid of the one that was found to be ours there. */
  readonly uid?: string | undefined;
}

export function isSamePlace(a: SecretPlace, b: SecretPlace): boolean {
  return a.namespace === b.namespace && a.name === b.name;
}

/** Whether this uid is one that we know to be this person's Secret. */
export function isKnownSecret(
  { secretUID, secretPlaces }: Pick<SagaRow, "secretUID" | "secretPlaces">,
  uid: string | undefined,
): boolean {
  return uid !== undefined && (uid === secretUID || secretPlaces.some((place) => place.uid === uid));
}

/** From this step on everything is ensured again when the run ends, which may have passed what was changed by already. */
export interface Recheck {
  readonly step: StepName;
  /** resourceVersion of the Secret that was seen; without one it went, or it is not about the Secret. */
  readonly version?: string | undefined;
}

export interface Deleting {
  /** RFC 3339: when deletion was seen. Pending cleanups are counted from here. */
  readonly since: string;
  /** uid of the deleted object: in the id of `sme.user.deleted`. */
  readonly objectUID: string;
  /** Steps undone for good. */
  readonly undone: readonly StepName[];
  /** Steps locked for the time of grace: Secret removed, accounts disabled. */
  readonly locked?: readonly StepName[] | undefined;
  /** The finalizer was released. What is still to do after that is a deferred cleanup, or the purge at the end of grace. */
  readonly released: boolean;
  /** RFC 3339: end of the Tenant's deletionGrace. Absent: no grace. */
  readonly purgeAt?: string | undefined;
  /** It was undone before, and a late worker may have made something since: whatever is found goes, and nothing is told. */
  readonly again?: boolean | undefined;
}

/** The admission request that a row is worked on for. */
export interface Cause {
  /** uid of the AdmissionReview's request. */
  readonly requestUID: string;
  /** Of its trace, where it is traced. */
  readonly traceparent?: string | undefined;
}

export interface SagaRow {
  readonly uuid: string;
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
  readonly state: SagaState;
  readonly reached: Reached;
  readonly keycloakUserID: string | undefined;
  readonly newapiUserID: string | undefined;
  readonly newapiUsername: string | undefined;
  readonly retryCount: number;
  readonly lastError: LastError | undefined;
  readonly createdAt: Date;

  readonly clusterID: string | undefined;
  readonly objectUID: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly objectCreatedAt: Date | undefined;
  /** The object was seen in the cluster. */
  readonly confirmed: boolean;
  /** Nothing was ever begun under it: it holds nothing, and is nobody's. */
  readonly voided: boolean;

  readonly run: Run | undefined;
  readonly handled: Handled | undefined;
  /** Fingerprint of what a terminal error waits to see changed. */
  readonly blockedOn: string | undefined;
  readonly dueAt: Date | undefined;
  readonly backoffUntil: Date | undefined;
  readonly failedSince: Date | undefined;
  /** When the object was first found to be gone, without its deletion having been seen. */
  readonly missingSince: Date | undefined;
  /** What was changed outside while a run was under way. */
  readonly recheck: Recheck | undefined;
  readonly touches: number;
  readonly version: number;

  readonly deletionPolicy: "Delete" | "Retain";
  readonly adopted: boolean;
  readonly secretNamespace: string | undefined;
  readonly secretName: string | undefined;
  readonly secretUID: string | undefined;
  /** resourceVersion of the Secret as last written or found good. */
  readonly secretVersion: string | undefined;
  /** Other places where a Secret of this person may stand: where it was, or was about to be made. */
  readonly secretPlaces: readonly NotedPlace[];
  readonly managed: Managed;
  readonly enabled: boolean;

  readonly keyGeneration: number;
  readonly keyRotatedAt: Date | undefined;
  readonly rotation: Rotation | undefined;
  /** Until when the key before the last rotation is to live; then it is removed at the gateway. */
  readonly previousKeyUntil: Date | undefined;
  /** Version of the master key that the gateway account's password was derived from. */
  readonly masterKey: number | undefined;
  readonly invitedKeycloakUserID: string | undefined;
  readonly refusedInvitation: RefusedInvitation | undefined;

  /** Another person had these accounts: credentials and sessions, and the key, are to be replaced. */
  readonly toReset: readonly ResetAccount[] | undefined;

  readonly deleting: Deleting | undefined;
  readonly history: readonly HistoryEntry[];
  /** Until what it asks for is finished. Absent: nobody asked, or the webhook was away. */
  readonly cause: Cause | undefined;
}

/** What only the store writes: when the row was made, and the counts that fence it. */
type Fixed = "createdAt" | "touches" | "version";

/** What is changed of a row; absent = unchanged, null = emptied. */
export type RowPatch = {
  readonly [Field in Exclude<keyof SagaRow, Fixed>]?: undefined extends SagaRow[Field]
    ? NonNullable<SagaRow[Field]> | null
    : SagaRow[Field];
};

/** The row as it is after a patch. */
export function patched(row: SagaRow, patch: RowPatch): SagaRow {
  const changed = Object.fromEntries(Object.entries(patch).map(([field, value]) => [field, value ?? undefined]));
  return { ...row, ...changed };
}
