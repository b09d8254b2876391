/** A tenant of a test's own, seen from all sides: Git, the cluster, Keycloak, the gateway, Postgres. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pool } from "pg";
import { assert } from "vitest";
import * as z from "zod";

import { API_VERSION, condition, type Condition } from "../../src/api/meta.ts";
import type { ConditionType } from "../../src/api/reasons.ts";
import { liveTenant, type LiveTenant } from "../../src/api/tenant.ts";
import { liveTenantUser, type LiveTenantUser, type TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import type { Clone } from "../../stack/git.ts";
import type { StackEnv } from "../../stack/index.ts";
import type { Kube } from "../../stack/kube.ts";
import { GIT_REPOSITORY, gitRepositoriesPath, kustomizationsPath, onboardTenant } from "../../stack/onboard.ts";
import type { OnboardedTenant, OnboardOptions } from "../../stack/onboard.ts";
import type { Answer, ApiServer } from "./apiServer.ts";
import { soon } from "./soon.ts";
import type { StandInControl, StandInUser, NewApiUser } from "./standInControl.ts";
import { toYAML } from "../../src/lib/yaml.ts";

export interface TenantWishes extends Omit<OnboardOptions, "id"> {
  /** false: do not wait until its checks are green. Default true. */
  readonly ready?: boolean;
  /** Only addresses of the tenant's own domain are allowed, so that it can share its realm. */
  readonly ownDomain?: boolean;
}

/** The keys of a Secret in plain text, and what tells one Secret from the next. */
export interface SecretSeen {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
}

export interface KeycloakUser {
  readonly id: string;
  readonly email: string;
  readonly enabled: boolean;
  readonly attributes: Readonly<Record<string, readonly string[]>>;
  /** Full paths. */
  readonly groups: readonly string[];
}

export interface SagaRecord {
  readonly state: string;
  readonly email: string;
  readonly kc_user_id: string | null;
  readonly newapi_user_id: string | null;
  readonly version: string;
  readonly touches: string;
}

export interface KustomizationSeen {
  readonly lastAppliedRevision: string;
  readonly lastAttemptedRevision: string;
  readonly lastHandledReconcileAt: string;
  readonly resourceVersion: string;
  readonly ready: Condition | undefined;
}

/** All that belongs to one person who is Ready, each found by its own means and compared. */
export interface Person {
  readonly uuid: string;
  readonly keycloakID: string;
  readonly accountID: string;
  readonly secretName: string;
  readonly apiKey: string;
}

export interface TestTenant extends Pick<OnboardedTenant, "id" | "namespace" | "realm"> {
  /** Who Flux is when it applies this tenant's files. */
  readonly flux: string;
  /** `ada` becomes ada@<tenant>.example. */
  email(local: string): string;
  /** YAML of one person. */
  manifest(name: string, spec?: Partial<TenantUserSpecInput>): string;
  /** One commit: each path with its new text, or undefined to remove the file. Pushes, tells Flux, gives the hash. */
  commit(files: Readonly<Record<string, string | undefined>>): Promise<string>;
  /** Another clone of the repository, as a person has one. */
  clone(dir: string): Promise<Clone>;
  /** Tells Flux that somebody has pushed. */
  pushed(): Promise<void>;
  /** Waits until Flux calls this commit applied and healthy. */
  applied(commit: string): Promise<KustomizationSeen>;
  kustomization(): Promise<KustomizationSeen>;
  /** Reconciles once more with nothing new, as an interval does, and waits for its end. */
  interval(): Promise<void>;

  /** Applies one person as this tenant's Flux would, without waiting for Flux. `dryRun`: as Flux asks first. */
  apply(name: string, spec?: Record<string, unknown>, options?: ApplyOptions): Promise<Answer>;
  /** Deletes one person as this tenant's Flux would. */
  remove(name: string): Promise<void>;
  user(name: string): Promise<LiveTenantUser | undefined>;
  /** Waits until the object is gone. */
  gone(name: string): Promise<void>;
  /** Waits until the object is Ready at its newest generation. */
  ready(name: string): Promise<LiveTenantUser>;
  /** Waits until a condition of the object, at its newest generation, has this status and reason, and gives it. */
  says(name: string, type: ConditionType, status: Condition["status"], reason: string): Promise<Condition>;
  /** The same of the Tenant itself. */
  tenantSays(type: ConditionType, status: Condition["status"], reason: string): Promise<Condition>;
  tenant(): Promise<LiveTenant>;
  /** Everything of a person who is Ready; throws when two things that belong together differ. */
  person(name: string): Promise<Person>;

  secret(name: string): Promise<SecretSeen | undefined>;
  /** Every Keycloak user with this mark. */
  keycloakUsers(uuid: string): Promise<readonly KeycloakUser[]>;
  /** The gateway's accounts of this uuid. */
  accounts(uuid: string): Promise<readonly StandInUser[]>;
  row(uuid: string): Promise<SagaRecord | undefined>;
  /** All that must not move when somebody else trespasses: Keycloak user, account, Secret and row, as they stand there. */
  everything(person: Person): Promise<object>;

  /** Changes the Tenant's spec as the platform would: a merge patch. */
  change(spec: Readonly<Record<string, unknown>>): Promise<void>;
  /** Sets annotations of one person. */
  annotate(name: string, annotations: Readonly<Record<string, string>>): Promise<void>;
  /** Onboards the same tenant once more, as into a cluster that knows nothing of it: from its repository and its realm. */
  onboardAgain(): Promise<void>;
  /** Undoes the tenant: its people, then itself. Its realm stays, for others may be in it. */
  leave(): Promise<void>;
}

export interface ApplyOptions {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly dryRun?: boolean;
}

interface Sides {
  readonly env: StackEnv;
  readonly api: ApiServer;
  readonly kube: Kube;
  readonly gateway: StandInControl;
  readonly db: Pool;
}

const secretShape = z.looseObject({
  metadata: z.looseObject({
    uid: z.string(),
    resourceVersion: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
  }),
  data: z.record(z.string(), z.string()).default({}),
});

const kustomizationShape = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), generation: z.number() }),
  status: z
    .looseObject({
      lastAppliedRevision: z.string().default(""),
      lastAttemptedRevision: z.string().default(""),
      lastHandledReconcileAt: z.string().default(""),
      conditions: z.array(condition).default([]),
    })
    .prefault({}),
});

export function seenKustomization(object: unknown): KustomizationSeen {
  const { metadata, status } = kustomizationShape.parse(object);
  return {
    lastAppliedRevision: status.lastAppliedRevision,
    lastAttemptedRevision: status.lastAttemptedRevision,
    lastHandledReconcileAt: status.lastHandledReconcileAt,
    resourceVersion: metadata.resourceVersion,
    ready: status.conditions.find(({ type }) => type === "Ready"),
  };
}

/** How a key is compared where it must not be read. */
export const sha256 = (apiKey: string): string => createHash("sha256").update(apiKey).digest("hex");

/** An account of dialect new-api in the words of the other one. */
function asAccount({ id, remark = "", status, group, display_name, keySHA256 }: NewApiUser): StandInUser {
  const [tenantID = "", uuid = ""] = remark.split("/");
  return {
    user_id: String(id),
    external_id: uuid,
    email: display_name,
    tenant_id: tenantID,
    tier: group,
    metadata: {},
    created_at: "",
    disabled: status !== 1,
    exhausted: false,
    liveKeys: keySHA256.length,
    keySHA256,
  };
}

export async function makeTenant(sides: Sides, label: string, wishes: TenantWishes = {}): Promise<TestTenant> {
  const { env, api, kube, gateway, db } = sides;
  const { ready: waitUntilReady = true, ownDomain = false, ...options } = wishes;
  const itsID = `${label}-${randomBytes(3).toString("hex")}`;
  const { patch = {} } = options;
  const wanted: OnboardOptions = {
    ...options,
    ...(ownDomain ? { patch: { ...patch, allow: { ...patch.allow, emailDomains: [`${itsID}.example`] } } } : {}),
    id: itsID,
    // A long interval: what a test sees comes from what it did. No time of grace: to see everything go at once.
    values: { INTERVAL: "10m", RETRY_INTERVAL: "2s", TIMEOUT: "60s", DELETION_GRACE: "0s", ...options.values },
    realm: { loginByMail: true, ...options.realm },
  };
  const onboarded = await onboardTenant(env, wanted);
  const { id, namespace, realm } = onboarded;
  const work = mkdtempSync(join(tmpdir(), `unified-rbac-${id}-`));
  const clone = await onboarded.clone(join(work, "clone"));
  const flux = `system:serviceaccount:${namespace}:flux-tenant`;
  const userPath = (name: string): string => objectPath("TenantUser", { namespace, name });
  const kustomizationPath = `${kustomizationsPath(namespace)}/${GIT_REPOSITORY}`;
  if (waitUntilReady) await onboarded.ready();

  const tenant: TestTenant = {
    id,
    namespace,
    realm,
    flux,
    email: (local) => `${local}@${id}.example`,
    manifest: (name, spec) => toYAML(tenantUser(name, { email: tenant.email(name), ...spec })),

    async commit(files) {
      for (const [path, text] of Object.entries(files)) {
        if (text === undefined) clone.remove(path);
        else clone.write(path, text);
      }
      const commit = await clone.push(`Change ${Object.keys(files).join(", ")}`);
      assert(commit !== undefined, "there was nothing to commit");
      await onboarded.pushed(kube);
      return commit;
    },
    clone: (dir) => onboarded.clone(dir),
    pushed: () => onboarded.pushed(kube),
    applied: (commit) =>
      soon(async () => {
        const seen = await tenant.kustomization();
        const { status, message } = seen.ready ?? {};
        assert(seen.lastAppliedRevision.endsWith(commit) && status === "True", `Flux says: ${message ?? "nothing"}`);
        return seen;
      }),
    kustomization: async () => seenKustomization(await kube.get(kustomizationPath)),
    async interval() {
      const token = new Date().toISOString();
      const annotations = { "reconcile.fluxcd.io/requestedAt": token };
      await kube.patch(kustomizationPath, { metadata: { annotations } }, "e2e");
      await soon(async () => {
        const { lastHandledReconcileAt, ready } = await tenant.kustomization();
        assert.equal(lastHandledReconcileAt, token);
        assert.equal(ready?.status, "True");
      });
    },

    apply(name, spec, { metadata, dryRun = false } = {}) {
      const query = `fieldManager=kustomize-controller&force=true${dryRun ? "&dryRun=All" : ""}`;
      const object = tenantUser(name, { email: tenant.email(name), ...spec }, metadata);
      return api.send("PATCH", `${userPath(name)}?${query}`, object, "application/apply-patch+yaml", flux);
    },
    async remove(name) {
      const { status } = await api.send("DELETE", userPath(name), undefined, undefined, flux);
      assert(status === 200 || status === 202, `DELETE was answered with ${status}`);
    },
    user: async (name) => liveTenantUser.optional().parse(await kube.get(userPath(name))),
    gone: (name) =>
      soon(async () => {
        const user = await tenant.user(name);
        assert(user === undefined, `${name} is still there: ${said(user?.status?.conditions)}`);
      }),
    ready: (name) =>
      soon(async () => {
        const user = await tenant.user(name);
        assert(user !== undefined, `${name} is not in the cluster`);
        const found = user.status?.conditions?.find(({ type }) => type === "Ready");
        const current = user.status?.observedGeneration === user.metadata.generation;
        assert(current && found?.status === "True", `${name} says: ${said(user.status?.conditions)}`);
        return user;
      }),
    says: (name, type, status, reason) =>
      soon(async () => {
        const user = await tenant.user(name);
        assert(user !== undefined, `${name} is not in the cluster`);
        return conditionOf(user, type, status, reason);
      }),
    tenantSays: (type, status, reason) => soon(async () => conditionOf(await tenant.tenant(), type, status, reason)),
    tenant: async () => liveTenant.parse(await kube.get(objectPath("Tenant", { name: id }))),
    async person(name) {
      const { status } = await tenant.ready(name);
      const uuid = status?.userUUID ?? "";
      const secret = await tenant.secret(status?.secretName ?? "");
      const apiKey = secret?.data["api-key"] ?? "";
      const [user, ...otherUsers] = await tenant.keycloakUsers(uuid);
      const [account, ...otherAccounts] = await tenant.accounts(uuid);
      assert(user !== undefined, `Keycloak has nobody with the mark of ${name}`);
      assert(account !== undefined, `the gateway has no account of ${name}`);
      assert.deepEqual([otherUsers, otherAccounts], [[], []], `${name} has something twice`);
      assert.equal(status?.keycloak?.userID, user.id);
      assert.equal(status?.newapi?.userID, account.user_id);
      assert.deepEqual(user.attributes["sme_tenant_id"], [id]);
      assert.equal(account.tenant_id, id);
      // One key, and it is the one in the Secret.
      assert.deepEqual(account.keySHA256, [sha256(apiKey)]);
      return { uuid, keycloakID: user.id, accountID: account.user_id, secretName: status?.secretName ?? "", apiKey };
    },

    async secret(name) {
      const found = await kube.get(`/api/v1/namespaces/${namespace}/secrets/${name}`);
      if (found === undefined) return undefined;
      const { metadata, data } = secretShape.parse(found);
      const plain = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]);
      const { uid, resourceVersion, labels } = metadata;
      return { uid, resourceVersion, labels, data: z.record(z.string(), z.string()).parse(Object.fromEntries(plain)) };
    },
    async keycloakUsers(uuid) {
      const found = await realm.admin.users.find({ q: `sme_user_uuid:${uuid}`, briefRepresentation: false, max: 10 });
      return Promise.all(
        found.map(async ({ id: userID = "", email = "", enabled = false, attributes }) => ({
          id: userID,
          email,
          enabled,
          attributes: z.record(z.string(), z.array(z.string())).parse(attributes ?? {}),
          groups: (await realm.admin.users.listGroups({ id: userID })).map(({ path = "" }) => path).toSorted(),
        })),
      );
    },
    accounts: async (uuid) => [
      ...(await gateway.users()).filter(({ external_id }) => external_id === uuid),
      ...(await gateway.newApiUsers()).filter(({ remark }) => remark?.endsWith(uuid)).map(asAccount),
    ],
    async row(uuid) {
      const { rows } = await db.query<SagaRecord>(
        `select state, email, kc_user_id, newapi_user_id, version, touches
           from user_provision_state where sme_user_uuid = $1`,
        [uuid],
      );
      return rows[0];
    },

    async everything({ uuid, keycloakID, secretName }) {
      const { users } = realm.admin;
      const groups = await users.listGroups({ id: keycloakID });
      const roles = await users.listRoleMappings({ id: keycloakID });
      const row = await db.query<{ row: object }>(
        `select to_jsonb(s) - array['due_at', 'touches', 'version', 'updated_at', 'lease_owner', 'lease_until'] as row
           from user_provision_state s where sme_user_uuid = $1`,
        [uuid],
      );
      return {
        user: await users.findOne({ id: keycloakID }),
        groups: groups.map(({ path = "" }) => path).toSorted(),
        roles: roles.realmMappings?.map(({ name = "" }) => name).toSorted(),
        accounts: await tenant.accounts(uuid),
        secret: await kube.get(`/api/v1/namespaces/${namespace}/secrets/${secretName}`),
        row: row.rows[0]?.row,
      };
    },

    change: (spec) => kube.patch(objectPath("Tenant", { name: id }), { spec }, "platform"),
    annotate: (name, annotations) => kube.patch(userPath(name), { metadata: { annotations } }, "e2e"),
    async onboardAgain() {
      await onboardTenant(env, wanted);
      if (waitUntilReady) await onboarded.ready();
    },
    async leave() {
      rmSync(work, { recursive: true, force: true });
      const remove = (path: string) => api.send("DELETE", path);
      const empty = (path: string) =>
        soon(async () => {
          const { items } = z.object({ items: z.array(z.unknown()) }).parse((await api.send("GET", path)).body);
          assert.equal(items.length, 0, `${path} is not empty`);
        });
      await remove(kustomizationPath);
      await remove(`${gitRepositoriesPath(namespace)}/${GIT_REPOSITORY}`);
      await empty(kustomizationsPath(namespace));
      await remove(collectionPath("TenantUser", namespace));
      await empty(collectionPath("TenantUser", namespace));
      await remove(objectPath("Tenant", { name: id }));
      await soon(async () => assert.equal(await kube.get(objectPath("Tenant", { name: id })), undefined));
      await remove(`/api/v1/namespaces/${namespace}`);
    },
  };
  return tenant;
}

function tenantUser(name: string, spec: object, metadata: object = {}): object {
  return { apiVersion: API_VERSION, kind: "TenantUser", metadata: { name, ...metadata }, spec };
}

function conditionOf(
  object: LiveTenantUser | LiveTenant,
  type: ConditionType,
  status: Condition["status"],
  reason: string,
): Condition {
  const { conditions } = object.status ?? {};
  const found = conditions?.find((each) => each.type === type);
  const current = found?.observedGeneration === object.metadata.generation;
  assert(found !== undefined && current && found.status === status && found.reason === reason, said(conditions));
  return found;
}

function said(conditions: readonly Condition[] | undefined): string {
  return (conditions ?? []).map((each) => `${each.type}=${each.status} ${each.reason}: ${each.message}`).join("\n");
}
