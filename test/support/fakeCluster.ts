/**
 * The cluster in memory: uids, resourceVersions, generations, finalizers, conflicts and watches as the API server has
 * them, and nothing that it has not.
 */
import { randomUUID } from "node:crypto";
import { API_VERSION, FIELD_MANAGER, FINALIZER, KINDS, LABEL_MANAGED_BY, type ObjectMeta } from "../../src/api/meta.ts";
import { liveTenant, type LiveTenant, type TenantSpecInput } from "../../src/api/tenant.ts";
import { liveTenantUser, type LiveTenantUser, type TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import type {
  Cluster,
  CRDState,
  EventNote,
  OpenWatch,
  SecretBody,
  SecretObject,
  WatchEvent,
} from "../../src/kube/cluster.ts";
import { readListed } from "../../src/kube/tenants.ts";
import { ConflictError, TransientError, WaitingError } from "../../src/lib/errors.ts";

interface Stored {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: LiveMetadata;
  readonly [field: string]: unknown;
}

type LiveMetadata = ObjectMeta &
  Required<Pick<ObjectMeta, "uid" | "resourceVersion" | "generation" | "creationTimestamp">>;

type Method = keyof Cluster;

export interface FakeCluster extends Cluster {
  readonly openWatch: OpenWatch;
  /** What `recordEvent` was given. */
  readonly events: readonly EventNote[];
  /** How often each method was called. */
  calls(method: Method): number;
  /** Every call of the method fails with this, until `undefined`. */
  break(method: Method, error: Error | undefined): void;
  setCRD(state: CRDState): void;
  /** Rights are there unless taken. */
  takeRights(namespace: string, missing: readonly string[]): void;

  createNamespace(name: string): void;
  /** `false`: as if it were terminating. */
  setNamespaceActive(name: string, active: boolean): void;

  /** As `kubectl apply`: creates, or replaces the spec (a new generation when it differs). */
  applyTenant(name: string, spec: TenantSpecInput, metadata?: Partial<ObjectMeta>): LiveTenant;
  /** As one that an older CRD let in. */
  applyUnreadableTenant(name: string, spec: TenantSpecInput): void;
  applyUser(namespace: string, name: string, spec: TenantUserSpecInput, metadata?: Partial<ObjectMeta>): LiveTenantUser;
  /** As `kubectl apply` for a Secret; `data` in plain text. */
  applySecret(namespace: string, name: string, data: Readonly<Record<string, string>>): SecretObject;
  /** As `kubectl edit` of the Secret there: what is not data, and its metadata. */
  editSecret(
    namespace: string,
    name: string,
    change: { readonly immutable?: boolean; readonly type?: string; readonly metadata?: Partial<ObjectMeta> },
  ): void;
  /** As an admission policy: throws for what is not to be written, tried or not. */
  admitSecrets(policy: ((operation: "create" | "update", body: SecretBody) => void) | undefined): void;
  /** As `kubectl delete`: with finalizers it only gets its deletionTimestamp. */
  deleteTenant(name: string): void;
  deleteUser(namespace: string, name: string): void;
  removeSecret(namespace: string, name: string): void;
  /** Gone without anybody having seen it: no event, as after a relist. */
  loseUser(namespace: string, name: string): void;

  tenant(name: string): LiveTenant | undefined;
  user(namespace: string, name: string): LiveTenantUser | undefined;
  secret(namespace: string, name: string): SecretObject | undefined;
}

const TENANTS = `/apis/${API_VERSION}/${KINDS.Tenant.plural}`;
const usersPath = (namespace?: string) =>
  `/apis/${API_VERSION}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${KINDS.TenantUser.plural}`;
const secretsPath = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;

interface Follower {
  readonly path: string;
  readonly selector: string | undefined;
  /** Of one object. */
  readonly named: string | undefined;
  readonly send: (event: WatchEvent) => void;
}

export function makeFakeCluster(options: { now?: () => number } = {}): FakeCluster {
  const now = options.now ?? Date.now;
  const clusterID = randomUUID();
  /** By path of the object. */
  const objects = new Map<string, Stored>();
  const namespaces = new Map<string, boolean>();
  const lacking = new Map<string, readonly string[]>();
  const broken = new Map<Method, Error>();
  const counts = new Map<Method, number>();
  const events: EventNote[] = [];
  const followers = new Set<Follower>();
  let version = 100;
  let admit: ((operation: "create" | "update", body: SecretBody) => void) | undefined;
  let crd: CRDState = "present";

  function tell(path: string, kind: "added" | "modified" | "deleted", object: Stored): void {
    for (const follower of followers) {
      if (!follows(follower, path, object.metadata)) continue;
      follower.send({ kind, object: structuredClone(object.metadata) });
    }
  }

  function follows(follower: Follower, path: string, metadata: ObjectMeta): boolean {
    const collection = path.slice(0, path.lastIndexOf("/"));
    const everywhere = collection.replace(/\/namespaces\/[^/]+/, "");
    return (
      (follower.path === collection || follower.path === everywhere) &&
      (follower.named === undefined || follower.named === metadata.name) &&
      selected(follower.selector, metadata)
    );
  }

  function store(path: string, object: Stored, kind: "added" | "modified"): Stored {
    version += 1;
    const stored = structuredClone({
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(version) },
    });
    objects.set(path, stored);
    tell(path, kind, stored);
    return stored;
  }

  function create(path: string, object: Omit<Stored, "metadata">, metadata: Partial<ObjectMeta>, name: string): Stored {
    return store(
      path,
      {
        ...object,
        apiVersion: String(object["apiVersion"]),
        kind: String(object["kind"]),
        metadata: {
          uid: randomUUID(),
          resourceVersion: "",
          generation: 1,
          creationTimestamp: new Date(now()).toISOString().replace(/\.\d+Z$/, "Z"),
          ...metadata,
          name,
        },
      },
      "added",
    );
  }

  /** Writes when something differs; a new generation when the spec does. */
  function replace(path: string, before: Stored, after: Stored): Stored {
    const { resourceVersion: _before, ...old } = before.metadata;
    const { resourceVersion: _after, ...fresh } = after.metadata;
    if (same({ ...before, metadata: old }, { ...after, metadata: fresh })) return before;
    const generation = before.metadata.generation + (same(before["spec"], after["spec"]) ? 0 : 1);
    return store(path, { ...after, metadata: { ...after.metadata, generation } }, "modified");
  }

  function applySpec(
    path: string,
    kind: "Tenant" | "TenantUser",
    name: string,
    spec: unknown,
    metadata: Partial<ObjectMeta>,
  ) {
    const before = objects.get(path);
    if (before === undefined) return create(path, { apiVersion: API_VERSION, kind, spec }, metadata, name);
    return replace(path, before, { ...before, spec, metadata: { ...before.metadata, ...metadata } as LiveMetadata });
  }

  function remove(path: string): void {
    const object = objects.get(path);
    if (object === undefined) return;
    if ((object.metadata.finalizers ?? []).length === 0) {
      objects.delete(path);
      tell(path, "deleted", object);
    } else if (object.metadata.deletionTimestamp === undefined) {
      const deletionTimestamp = new Date(now()).toISOString().replace(/\.\d+Z$/, "Z");
      const generation = object.metadata.generation + 1;
      store(path, { ...object, metadata: { ...object.metadata, deletionTimestamp, generation } }, "modified");
    }
  }

  function setFinalizers(path: string, object: Stored, finalizers: readonly string[]): Stored {
    const after = { ...object, metadata: { ...object.metadata, finalizers: [...finalizers] } };
    if (object.metadata.deletionTimestamp !== undefined && finalizers.length === 0) {
      objects.delete(path);
      tell(path, "deleted", after);
      return after;
    }
    return replace(path, object, after);
  }

  function addOurs(path: string, metadata: ObjectMeta): Stored {
    const live = objects.get(path);
    const stands = live?.metadata.uid === metadata.uid && live?.metadata.resourceVersion === metadata.resourceVersion;
    if (live === undefined || !stands || live.metadata.deletionTimestamp !== undefined) throw conflict(path);
    return setFinalizers(path, live, [...(live.metadata.finalizers ?? []), FINALIZER]);
  }

  function removeOurs(path: string, metadata: ObjectMeta): void {
    const live = objects.get(path);
    const finalizers = live?.metadata.finalizers ?? [];
    if (live === undefined || live.metadata.uid !== metadata.uid || !finalizers.includes(FINALIZER)) return;
    setFinalizers(
      path,
      live,
      finalizers.filter((each) => each !== FINALIZER),
    );
  }

  function applyStatus(path: string, metadata: ObjectMeta, status: object): boolean {
    const live = objects.get(path);
    if (live === undefined || live.metadata.uid !== metadata.uid) return false;
    replace(path, live, { ...live, status: structuredClone(status) });
    return true;
  }

  const tenantPath = (name: string) => `${TENANTS}/${name}`;
  const userPath = (namespace: string, name: string) => `${usersPath(namespace)}/${name}`;
  const secretPath = (namespace: string, name: string) => `${secretsPath(namespace)}/${name}`;
  const userOf = (stored: Stored | undefined) => (stored === undefined ? undefined : liveTenantUser.parse(stored));
  const tenantOf = (stored: Stored | undefined) => (stored === undefined ? undefined : liveTenant.parse(stored));
  const secretOf = (stored: Stored | undefined) =>
    stored === undefined ? undefined : (structuredClone(stored) as unknown as SecretObject);
  const place = (user: { metadata: ObjectMeta }) => userPath(user.metadata.namespace ?? "", user.metadata.name);

  function writeSecret(body: SecretBody): Omit<Stored, "metadata"> {
    const data = Object.fromEntries(Object.entries(body.data).map(([key, text]) => [key, base64(text)]));
    return { apiVersion: "v1", kind: "Secret", type: "Opaque", data };
  }

  /** Every call: counted, asynchronous, cut by its signal, and failing when it is told to. */
  async function call<T>(method: Method, signal: AbortSignal, work: () => T): Promise<T> {
    counts.set(method, (counts.get(method) ?? 0) + 1);
    await new Promise((resolve) => void setImmediate(resolve));
    signal.throwIfAborted();
    const error = broken.get(method);
    if (error !== undefined) throw error;
    return work();
  }

  return {
    clusterID: (signal) => call("clusterID", signal, () => clusterID),
    tenantUserCRD: (signal) => call("tenantUserCRD", signal, () => crd),

    getTenantUser: (namespace, name, signal) =>
      call("getTenantUser", signal, () => userOf(objects.get(userPath(namespace, name)))),
    listTenantUsers: (namespace, signal) =>
      call("listTenantUsers", signal, () =>
        [...objects]
          .filter(([path]) => path.startsWith(userPath(namespace, "")))
          .flatMap(([, stored]) => userOf(stored) ?? []),
      ),
    applyTenantUserStatus: (user, status, signal) =>
      call("applyTenantUserStatus", signal, () => applyStatus(place(user), user.metadata, status)),
    addFinalizer: (user, signal) =>
      call("addFinalizer", signal, () => {
        if (user.metadata.finalizers?.includes(FINALIZER)) return user;
        return liveTenantUser.parse(addOurs(place(user), user.metadata));
      }),
    removeFinalizer: (user, signal) => call("removeFinalizer", signal, () => removeOurs(place(user), user.metadata)),

    listTenants: (signal) =>
      call("listTenants", signal, () =>
        [...objects].filter(([path]) => path.startsWith(`${TENANTS}/`)).map(([, stored]) => readListed(stored)),
      ),
    getTenant: (name, signal) => call("getTenant", signal, () => tenantOf(objects.get(tenantPath(name)))),
    applyTenantStatus: (tenant, status, signal) =>
      call("applyTenantStatus", signal, () => {
        const path = tenantPath(tenant.metadata.name);
        return applyStatus(path, tenant.metadata, status) ? objects.get(path)?.metadata.resourceVersion : undefined;
      }),
    setTenantFinalizer: (tenant, present, signal) =>
      call("setTenantFinalizer", signal, () => {
        const path = tenantPath(tenant.metadata.name);
        if (!present) removeOurs(path, tenant.metadata);
        else if (!tenant.metadata.finalizers?.includes(FINALIZER))
          return addOurs(path, tenant.metadata).metadata.resourceVersion;
        return undefined;
      }),

    getSecret: (namespace, name, signal) =>
      call("getSecret", signal, () => secretOf(objects.get(secretPath(namespace, name)))),
    listOwnSecrets: (namespace, signal) =>
      call("listOwnSecrets", signal, () =>
        [...objects]
          .filter(([path]) => path.startsWith(secretPath(namespace, "")))
          .flatMap(([, stored]) => secretOf(stored) ?? [])
          .filter(({ metadata }) => metadata.labels?.[LABEL_MANAGED_BY] === FIELD_MANAGER),
      ),
    createSecret: (body, signal) =>
      call("createSecret", signal, () => {
        const path = secretPath(body.namespace, body.name);
        admit?.("create", body);
        if (objects.has(path)) throw conflict(path);
        if (namespaces.get(body.namespace) !== true) throw unavailable(`namespace ${body.namespace} is not there`);
        const { namespace, labels, annotations } = body;
        return secretOf(create(path, writeSecret(body), { namespace, labels, annotations }, body.name)) as SecretObject;
      }),
    replaceSecret: (current, body, signal) =>
      call("replaceSecret", signal, () => {
        const path = secretPath(body.namespace, body.name);
        const live = objects.get(path);
        const { uid, resourceVersion } = current.metadata;
        const stands = live?.metadata.uid === uid && live?.metadata.resourceVersion === resourceVersion;
        if (live === undefined || !stands) throw conflict(path);
        admit?.("update", body);
        if (live["immutable"] === true) throw frozen(path);
        const metadata = { ...live.metadata, labels: { ...body.labels }, annotations: { ...body.annotations } };
        return secretOf(replace(path, live, { ...live, ...writeSecret(body), metadata } as Stored)) as SecretObject;
      }),
    tryCreateSecret: (body, signal) => call("tryCreateSecret", signal, () => admit?.("create", body)),
    tryReplaceSecret: (current, body, signal) =>
      call("tryReplaceSecret", signal, () => {
        const path = secretPath(body.namespace, body.name);
        const live = objects.get(path);
        if (live?.metadata.resourceVersion !== current.metadata.resourceVersion) throw conflict(path);
        admit?.("update", body);
        if (live?.["immutable"] === true) throw frozen(path);
      }),
    deleteSecret: (namespace, name, uid, signal) =>
      call("deleteSecret", signal, () => {
        const path = secretPath(namespace, name);
        const live = objects.get(path);
        if (live !== undefined && live.metadata.uid !== uid) throw conflict(path);
        remove(path);
      }),
    namespaceActive: (name, signal) => call("namespaceActive", signal, () => namespaces.get(name) === true),
    recordEvent: (event, signal) => call("recordEvent", signal, () => void events.push(event)),
    missingSecretRights: (namespace, signal) =>
      call("missingSecretRights", signal, () => [...(lacking.get(namespace) ?? [])]),

    openWatch(target, onEvent) {
      let chain = Promise.resolve();
      let stopped = false;
      let last = now();
      const send = (event: WatchEvent): void => {
        chain = chain
          .then(async () => {
            last = now();
            if (!stopped) await onEvent(event);
          })
          .catch(() => undefined);
      };
      const named = /^metadata\.name=(.*)$/.exec(target.fieldSelector ?? "")?.[1];
      const follower: Follower = { path: target.path, selector: target.labelSelector, named, send };
      followers.add(follower);
      const items = [...objects]
        .filter(([path, stored]) => follows(follower, path, stored.metadata))
        .map(([, stored]) => structuredClone(stored.metadata));
      send({ kind: "listed", items });
      return {
        lastProgress: () => last,
        synced: chain,
        stop: async () => {
          stopped = true;
          followers.delete(follower);
          await chain;
        },
      };
    },

    events,
    calls: (method) => counts.get(method) ?? 0,
    break(method, error) {
      if (error === undefined) broken.delete(method);
      else broken.set(method, error);
    },
    setCRD: (state) => void (crd = state),
    takeRights: (namespace, missing) => void lacking.set(namespace, missing),
    createNamespace: (name) => void namespaces.set(name, true),
    setNamespaceActive: (name, active) => void namespaces.set(name, active),

    applyTenant: (name, spec, metadata = {}) =>
      liveTenant.parse(applySpec(tenantPath(name), "Tenant", name, spec, metadata)),
    applyUnreadableTenant: (name, spec) => void applySpec(tenantPath(name), "Tenant", name, spec, {}),
    applyUser: (namespace, name, spec, metadata = {}) =>
      liveTenantUser.parse(applySpec(userPath(namespace, name), "TenantUser", name, spec, { ...metadata, namespace })),
    applySecret(namespace, name, data) {
      const path = secretPath(namespace, name);
      const body = writeSecret({ namespace, name, data, labels: {}, annotations: {} });
      const before = objects.get(path);
      const after =
        before === undefined
          ? create(path, body, { namespace }, name)
          : replace(path, before, { ...before, ...body } as Stored);
      return secretOf(after) as SecretObject;
    },
    editSecret(namespace, name, { metadata, ...change }) {
      const path = secretPath(namespace, name);
      const before = objects.get(path);
      if (before === undefined) throw new Error(`there is no ${path}`);
      const after = { ...before, ...change, metadata: { ...before.metadata, ...metadata } } as Stored;
      if (after.metadata.deletionTimestamp !== undefined && (after.metadata.finalizers ?? []).length === 0) {
        objects.delete(path);
        tell(path, "deleted", after);
      } else replace(path, before, after);
    },
    admitSecrets: (policy) => void (admit = policy),
    deleteTenant: (name) => remove(tenantPath(name)),
    deleteUser: (namespace, name) => remove(userPath(namespace, name)),
    removeSecret: (namespace, name) => remove(secretPath(namespace, name)),
    loseUser: (namespace, name) => void objects.delete(userPath(namespace, name)),

    tenant(name) {
      const stored = objects.get(tenantPath(name));
      return stored === undefined ? undefined : (readListed(stored) as LiveTenant);
    },
    user: (namespace, name) => userOf(objects.get(userPath(namespace, name))),
    secret: (namespace, name) => secretOf(objects.get(secretPath(namespace, name))),
  };
}

/** Equality selectors only: `a=b,c=d`. */
function selected(selector: string | undefined, { labels = {} }: ObjectMeta): boolean {
  if (selector === undefined) return true;
  return selector.split(",").every((term) => {
    const [key = "", value = ""] = term.split("=");
    return labels[key] === value;
  });
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

function frozen(path: string): WaitingError {
  return new WaitingError({
    code: "SecretRefused",
    upstream: "kubernetes",
    upstreamStatus: 422,
    message: `${path}: field is immutable when \`immutable\` is set`,
  });
}

function conflict(path: string): ConflictError {
  return new ConflictError({
    code: "Conflict",
    upstream: "kubernetes",
    upstreamStatus: 409,
    message: `${path} moved.`,
  });
}

function unavailable(message: string): TransientError {
  return new TransientError({ code: "UpstreamUnavailable", upstream: "kubernetes", message });
}
