/** Everything that a platform engineer does for one tenant, done on the local stack. Safe to repeat. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { objectPath } from "../src/kube/objects.ts";
import type { StackEnv } from "./env.ts";
import { cloneRepository, openClone, type Clone, type Remote } from "./git.ts";
import { makeGitea } from "./gitea.ts";
import { applyText, connectKube, kubectl, type Kube } from "./kube.ts";
import { tenantRealm, type RealmOptions, type TenantRealm } from "./realm.ts";
import { renderTenant, renderTenantSecrets, type TenantPatch, type TenantValues } from "./tenant.ts";
import { ADMIN } from "./newapi/newApi/memory.ts";

export interface OnboardOptions {
  /** A DNS label: the tenant's id, its realm, its organisation in Gitea. */
  readonly id: string;
  /** Default: the id with `tenant-` before it. */
  readonly namespace?: string;
  /** Variables of flux/tenant that shall be other than here. */
  readonly values?: Partial<TenantValues>;
  /** What the platform's patch adds to the Tenant. What `allow` names is made in the realm too. */
  readonly patch?: TenantPatch;
  /** Pieces of the realm that shall be other than onboarding makes them. */
  readonly realm?: Partial<RealmOptions>;
}

export interface OnboardedTenant {
  readonly id: string;
  readonly namespace: string;
  readonly realm: TenantRealm;
  /** What people clone; the login is in `remote`. */
  readonly repoURL: string;
  readonly remote: Remote;
  /** Clones the repository, or opens a clone that is there and has nothing unsaved. */
  clone(dir: string): Promise<Clone>;
  /** Resolves when the product calls the Tenant ready; throws what it says when that does not happen in time. */
  ready(withinMs?: number): Promise<void>;
  /** Tells Flux that something was pushed, as a webhook receiver would. */
  pushed(kube: Kube): Promise<void>;
}

export const GIT_REPOSITORY = "users";
const REPOSITORY = "people";

export const gitRepositoriesPath = (namespace: string): string =>
  `/apis/source.toolkit.fluxcd.io/v1/namespaces/${namespace}/gitrepositories`;
export const kustomizationsPath = (namespace: string): string =>
  `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${namespace}/kustomizations`;

/** The product's definitions must be in the cluster already. */
export async function onboardTenant(env: StackEnv, options: OnboardOptions): Promise<OnboardedTenant> {
  const { id, patch = {} } = options;
  const namespace = options.namespace ?? `tenant-${id}`;
  const [realm, git] = await Promise.all([makeRealm(env, options), makeRepository(env, id)]);

  const values: TenantValues = {
    TENANT: id,
    NAMESPACE: namespace,
    GIT_URL: git.remote.url,
    KEYCLOAK_URL: env.KEYCLOAK_URL,
    KEYCLOAK_REALM: realm.realm,
    NEWAPI_URL: env.NEWAPI_URL,
    INTERVAL: "10s",
    RETRY_INTERVAL: "5s",
    ...options.values,
  };
  // The Secrets before Flux looks for them; the namespace before the Secrets.
  await kubectl(env, ["get", "namespace", namespace]).catch(() => kubectl(env, ["create", "namespace", namespace]));
  const secrets = renderTenantSecrets(values, {
    keycloak: { clientID: realm.clientID, clientSecret: realm.clientSecret },
    // The id is for dialect new-api; the other one has no use for it.
    newapi: { token: env.NEWAPI_ADMIN_TOKEN, userID: String(ADMIN) },
    git: git.reader,
  });
  await applyText(env, secrets);
  await applyText(env, renderTenant(values, patch));

  return {
    id,
    namespace,
    realm,
    repoURL: git.remote.url,
    remote: git.remote,
    async clone(dir) {
      if (!existsSync(dir)) return cloneRepository(git.remote, dir);
      const clone = await openClone(git.remote, dir);
      await clone.update();
      return clone;
    },
    async ready(withinMs = 60_000) {
      await tenantReady(env, id, withinMs);
      const kube = await connectKube(env);
      await quotaCounted((path) => kube.get(path), namespace).finally(() => kube.close());
    },
    pushed: (kube) =>
      kube.patch(
        `${gitRepositoriesPath(namespace)}/${GIT_REPOSITORY}`,
        { metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": new Date().toISOString() } } },
        "git-push",
      ),
  };
}

async function makeRealm(env: StackEnv, { id, patch, realm }: OnboardOptions): Promise<TenantRealm> {
  const server = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
  const paths = (patch?.allow?.groups ?? []).map((group) => (group.startsWith("/") ? group : `/${group}`));
  return tenantRealm(server, {
    realm: id,
    groups: ["/sme-users", ...paths],
    realmRoles: patch?.allow?.realmRoles ?? [],
    // Else an address that was a user name once could never be another person's.
    editUsernameAllowed: true,
    ...realm,
  });
}

export interface TenantGit {
  readonly remote: Remote;
  /** What Flux reads with. */
  readonly reader: { readonly username: string; readonly password: string };
}

/** An organisation of the tenant's own, in it the repository, a person who may push, and a read-only token for Flux. */
export async function makeRepository(env: StackEnv, id: string): Promise<TenantGit> {
  const gitea = makeGitea(env);
  await gitea.org(id);
  await gitea.repository(id, REPOSITORY);
  const person = await gitea.user(`${id}-person`);
  const flux = await gitea.user(`${id}-flux`);
  await gitea.collaborator(id, REPOSITORY, person.login, "write");
  await gitea.collaborator(id, REPOSITORY, flux.login, "read");
  const [reading, writing] = await Promise.all([
    gitea.token(flux, "flux", ["read:repository"]),
    // Checked faster than a password, which git sends with each of its requests.
    gitea.token(person, "git", ["write:repository"]),
  ]);
  const remote = { url: `${env.GITEA_URL}/${id}/${REPOSITORY}.git`, login: person.login, password: writing };
  await seed(remote, id);
  return { remote, reader: { username: flux.login, password: reading } };
}

/** Flux refuses a path that is not there, and git keeps no empty folder: the last person may go, this file stays. */
async function seed(remote: Remote, id: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-seed-"));
  try {
    const clone = await cloneRepository(remote, join(folder, "clone"));
    if ((await clone.files("users")).length > 0) return;
    clone.write("users/README.md", readme(id));
    await clone.push("Begin");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const readme = (id: string): string => `# The people of ${id}

Each file describes one person. When you commit it, the person gets a login, an account at the LLM gateway and a Secret
with its key. When you remove it, the service removes all of them.

    apiVersion: catalyst.openova.io/v1alpha1
    kind: TenantUser
    metadata:
      name: grace
    spec:
      email: grace@${id}.example
      displayName: Grace Hopper
`;

const counted = z.looseObject({
  spec: z.looseObject({ hard: z.record(z.string(), z.string()) }),
  status: z.looseObject({ used: z.record(z.string(), z.string()).default({}) }).prefault({}),
});

/**
 * The API server refuses what a quota names until the controller-manager has counted it, and that learns of a new kind once in
 * half a minute: the first tenant after an installation waits so long for its first commit.
 */
export async function quotaCounted(get: (path: string) => Promise<unknown>, namespace: string): Promise<void> {
  for (const until = Date.now() + 120_000; Date.now() < until; await sleep(250)) {
    const quota = counted.safeParse(await get(`/api/v1/namespaces/${namespace}/resourcequotas/tenantusers`));
    if (!quota.success) continue;
    const { spec, status } = quota.data;
    if (Object.keys(spec.hard).every((kind) => kind in status.used)) return;
  }
  throw new Error(`The ResourceQuota of namespace ${namespace} is not counted: does the controller-manager run?`);
}

const conditioned = z.looseObject({
  metadata: z.looseObject({ generation: z.number() }),
  status: z.looseObject({
    observedGeneration: z.number(),
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string(), message: z.string() })),
  }),
});

/** Resolves when the product calls the Tenant ready; throws what it says when that does not happen in time. */
export async function tenantReady(env: StackEnv, name: string, withinMs: number): Promise<void> {
  const kube = await connectKube(env);
  let said = "nothing yet: does the reconciler run?";
  try {
    for (const until = Date.now() + withinMs; Date.now() < until; await sleep(100)) {
      const tenant = conditioned.safeParse(await kube.get(objectPath("Tenant", { name })));
      if (!tenant.success || tenant.data.status.observedGeneration !== tenant.data.metadata.generation) continue;
      const { conditions } = tenant.data.status;
      if (conditions.some(({ type, status }) => type === "Ready" && status === "True")) return;
      said = conditions.map(({ type, status, message }) => `${type}=${status}: ${message}`).join("\n");
    }
  } finally {
    kube.close();
  }
  throw new Error(`Tenant ${name} is not ready after ${withinMs / 1000} s. It says:\n${said}`);
}
