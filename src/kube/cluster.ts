import type { ObjectMeta } from "../api/meta.ts";
import type { Tenant, TenantStatus } from "../api/tenant.ts";
import type { LiveTenantUser, TenantUser, TenantUserStatus } from "../api/tenantUser.ts";

/** What the reconciler says about an object: one Event per change of state, never per retry. */
export interface EventNote {
  readonly object: { kind: "TenantUser" | "Tenant"; namespace?: string; name: string; uid: string };
  readonly type: "Normal" | "Warning";
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  readonly action: string;
  /** One sentence, no secret in it. */
  readonly note: string;
}

export interface SecretObject {
  readonly metadata: ObjectMeta;
  readonly type?: string | undefined;
  /** True: its data can never be changed again; only a Secret in its place can have others. */
  readonly immutable?: boolean | undefined;
  /** base64, as the API gives it. */
  readonly data?: Readonly<Record<string, string>> | undefined;
}

/** The body of a Secret that we write; `data` is plain text, the client encodes it. */
export interface SecretBody {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
}

export type CRDState = "present" | "terminating" | "gone";

/** `unreadable`: its spec does not fit, and why; what stands in `spec` then is not to be used. */
export type ListedTenant = Tenant & { readonly unreadable?: string };

/**
 * The cluster as the reconciler needs it. Every call has a deadline joined with `signal`, retries nothing and
 * throws only SagaErrors (upstream "kubernetes"): 409 is a ConflictError, 401/403 and other 4xx Terminal, 429 and
 * 5xx and no answer Transient. A 404 is never an error here: it is `undefined` or `false`.
 */
export interface Cluster {
  /** uid of the namespace kube-system: names this cluster for ever. */
  clusterID(signal: AbortSignal): Promise<string>;
  tenantUserCRD(signal: AbortSignal): Promise<CRDState>;

  getTenantUser(namespace: string, name: string, signal: AbortSignal): Promise<LiveTenantUser | undefined>;
  /** All of one namespace, in pages; one that does not fit its schema is left out. */
  listTenantUsers(namespace: string, signal: AbortSignal): Promise<LiveTenantUser[]>;
  /**
   * Server-side apply of the whole status as field manager `unified-rbac`, forced; guarded by the resourceVersion that was
   * read: ConflictError when the object moved since. False: gone.
   */
  applyTenantUserStatus(user: TenantUser, status: TenantUserStatus, signal: AbortSignal): Promise<boolean>;
  /** Guarded by resourceVersion, which implies the uid. ConflictError when the object moved, is gone or going. */
  addFinalizer(user: LiveTenantUser, signal: AbortSignal): Promise<LiveTenantUser>;
  /** Removes only our finalizer, guarded by uid. True also when it or the object was gone already. */
  removeFinalizer(user: TenantUser, signal: AbortSignal): Promise<void>;

  /** One that cannot be read is among them, and says so: left out, its namespaces would look free. */
  listTenants(signal: AbortSignal): Promise<ListedTenant[]>;
  getTenant(name: string, signal: AbortSignal): Promise<Tenant | undefined>;
  /**
   * Like {@link applyTenantUserStatus}, but applied again when the object moved meanwhile. Its new resourceVersion; undefined:
   * gone.
   */
  applyTenantStatus(tenant: Tenant, status: TenantStatus, signal: AbortSignal): Promise<string | undefined>;
  /** Adds or removes the finalizer of a Tenant (it cannot vanish under its users). Its new resourceVersion, if it is known. */
  setTenantFinalizer(tenant: Tenant, present: boolean, signal: AbortSignal): Promise<string | undefined>;

  getSecret(namespace: string, name: string, signal: AbortSignal): Promise<SecretObject | undefined>;
  /** Our own (by label managed-by) of one namespace, in pages. */
  listOwnSecrets(namespace: string, signal: AbortSignal): Promise<SecretObject[]>;
  /**
   * POST; 409 (somebody was first) is a ConflictError; what quota, policy or validation refuse is a WaitingError
   * `SecretRefused`. Returns what was stored (uid, resourceVersion).
   */
  createSecret(body: SecretBody, signal: AbortSignal): Promise<SecretObject>;
  /**
   * PUT with uid and resourceVersion of `current`; its foreign labels and annotations must be in `body` already. Refused
   * like {@link createSecret}.
   */
  replaceSecret(current: SecretObject, body: SecretBody, signal: AbortSignal): Promise<SecretObject>;
  /** The dry run of a POST: throws what it would be refused with. One that stands there already refuses nothing. */
  tryCreateSecret(body: SecretBody, signal: AbortSignal): Promise<void>;
  /** The dry run of a PUT: throws what it would be refused with. */
  tryReplaceSecret(current: SecretObject, body: SecretBody, signal: AbortSignal): Promise<void>;
  /** DELETE with preconditions uid; 404 is success; 409 (another uid) is a ConflictError. */
  deleteSecret(namespace: string, name: string, uid: string, signal: AbortSignal): Promise<void>;
  /** `false` when the namespace is gone or terminating. */
  namespaceActive(namespace: string, signal: AbortSignal): Promise<boolean>;

  /** Never throws: an Event that cannot be written is logged and dropped. */
  recordEvent(event: EventNote, signal: AbortSignal): Promise<void>;
  /** SelfSubjectAccessReview per verb; names what is missing, e.g. "create secrets in tenant-a". */
  missingSecretRights(namespace: string, signal: AbortSignal): Promise<string[]>;
}

/** A metadata-only watch of one collection. */
export interface WatchTarget {
  /** e.g. "/apis/catalyst.openova.io/v1alpha1/tenantusers" or "/api/v1/namespaces/tenant-a/secrets". */
  readonly path: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export type WatchEvent =
  /** The whole collection as of now: sent after every (re)list. What is missing here was NOT seen deleted. */
  | { readonly kind: "listed"; readonly items: readonly ObjectMeta[] }
  | { readonly kind: "added" | "modified"; readonly object: ObjectMeta }
  /** Seen on a live watch: the object as it was last. */
  | { readonly kind: "deleted"; readonly object: ObjectMeta };

export interface Watch {
  /** Milliseconds since the epoch of the last byte, list or bookmark: liveness is a proof of progress. */
  lastProgress(): number;
  /** Resolves once the first list has been delivered. */
  synced: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Lists and watches over few shared HTTP/2 connections, with bookmarks and a relist timer, for ever: every error
 * is followed by a new try with back-off. `onEvent` is awaited, in order, one at a time for each watch.
 */
export type OpenWatch = (target: WatchTarget, onEvent: (event: WatchEvent) => Promise<void> | void) => Watch;
