/** Several tenants that the real processes of the product serve together, on a database of their own. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import * as z from "zod";

import { API_VERSION } from "../../src/api/meta.ts";
import { liveTenant } from "../../src/api/tenant.ts";
import { liveTenantUser, type LiveTenantUser, type TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { makePool } from "../../src/store/pool.ts";
import { applyText } from "../../stack/kube.ts";
import { ADMIN } from "../../stack/newapi/newApi/memory.ts";
import { type Product, startProduct } from "../../stack/product/index.ts";
import { quotaCounted } from "../../stack/onboard.ts";
import type { TenantRealm } from "../../stack/realm.ts";
import { renderTenant, renderTenantSecrets, type TenantPatch, type TenantValues } from "../../stack/tenant.ts";
import { openEventReader } from "../support/events.ts";
import { standInControl } from "../support/standInControl.ts";
import type { Sources } from "./inventory.ts";
import { abandon } from "./abandon.ts";
import type { Environment } from "./environment.ts";
import type { Dialect } from "./chaosPlan.ts";

export interface Quarter {
  /** Its tenant's id. */
  readonly id: string;
  readonly namespace: string;
  readonly dialect: Dialect;
  readonly realm: TenantRealm;
  email(local: string): string;
  /** As Flux applies a manifest. False: the object is on its way out, and must be applied again when it has gone. */
  apply(name: string, spec?: Partial<TenantUserSpecInput>): Promise<boolean>;
  /** As Flux prunes; somebody who is not there is gone already. */
  remove(name: string): Promise<void>;
  users(): Promise<readonly LiveTenantUser[]>;
  /** Names of those who are Ready at their newest generation. */
  ready(): Promise<ReadonlySet<string>>;
  user(name: string): Promise<LiveTenantUser | undefined>;
}

export interface QuarterWishes {
  /** Default admin-v1. */
  readonly dialect?: Dialect;
  /** Default: the stack's own. */
  readonly keycloakURL?: string;
  /** Default: the stack's own. */
  readonly newapiURL?: string;
  /** Default: one of its own. */
  readonly realm?: TenantRealm;
  /** Default: what chaos's people are put into. */
  readonly patch?: TenantPatch;
}

export interface Fixture {
  readonly db: Pool;
  /** Where to ask about one of its tenants. */
  sources(quarter: Quarter): Sources;
  /** Onboards a tenant; its processes must run for it to become ready. */
  quarter(label: string, wishes?: QuarterWishes): Promise<Quarter>;
  /** Resolves when the product calls the tenant ready. */
  ready(quarter: Quarter): Promise<void>;
  /** Starts a pair of the product's processes, or one of them. */
  start(
    id: string,
    roles?: readonly ("webhook" | "reconciler")[],
    settings?: Readonly<Record<string, string>>,
  ): Promise<Product>;
  /** Ends the processes and takes every object out of the cluster, without anybody's leave. */
  close(): Promise<void>;
}

const userList = z.object({ items: z.array(liveTenantUser) });
const FLUX = /^apiVersion: .*toolkit\.fluxcd\.io\//m;
const PATIENCE_MS = 90_000;
/** What chaos's people are put into. */
const PATCH: TenantPatch = { allow: { groups: ["/team-a", "/team-b"] } };

export async function makeFixture(environment: Environment, id: string): Promise<Fixture> {
  const { env, api } = environment;
  const database = id.replaceAll("-", "_");
  const databaseURL = await environment.freshDatabase(database);
  const db = makePool({ url: databaseURL, max: 2, applicationName: "crash tests", onIdleError: () => {} });
  const reader = await openEventReader(env.NATS_URL);
  const quarters: Quarter[] = [];
  const products: Product[] = [];

  return {
    db,
    sources: ({ id: tenant, namespace, dialect, realm }) => ({
      tenant,
      namespace,
      dialect,
      api,
      db,
      realm,
      gateway: standInControl(env.NEWAPI_URL),
      async opens(apiKey) {
        const headers = { authorization: `Bearer ${apiKey}` };
        const answer = await fetch(`${env.NEWAPI_URL}/v1/models`, { headers });
        await answer.body?.cancel();
        return answer.status;
      },
      events: async () => (await reader.all()).filter((event) => event.tenant_id === tenant),
    }),

    async quarter(label, wishes = {}) {
      const {
        dialect = "admin-v1",
        keycloakURL = env.KEYCLOAK_URL,
        newapiURL = env.NEWAPI_URL,
        realm: shared,
      } = wishes;
      const tenant = `${id}-${label}`;
      const namespace = `tenant-${tenant}`;
      const realm = shared ?? (await environment.takeRealm());
      const values: TenantValues = {
        TENANT: tenant,
        NAMESPACE: namespace,
        GIT_URL: "http://none.invalid/people.git",
        KEYCLOAK_URL: keycloakURL,
        KEYCLOAK_REALM: realm.realm,
        NEWAPI_URL: newapiURL,
        NEWAPI_DIALECT: dialect,
        DELETION_GRACE: "0s",
      };
      const { status } = await api.send("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
      assert(status === 201 || status === 409, `namespace ${namespace}: ${status}`);
      const text = [
        renderTenantSecrets(values, {
          keycloak: { clientID: realm.clientID, clientSecret: realm.clientSecret },
          newapi: { token: env.NEWAPI_ADMIN_TOKEN, userID: String(ADMIN) },
          git: { username: "none", password: "none" },
        }),
        renderTenant(values, { ...wishes.patch, allow: { ...PATCH.allow, emailDomains: [`${tenant}.example`] } }),
      ].join("---\n");
      await applyText(
        env,
        text
          .split(/^---\n/m)
          .filter((one) => !FLUX.test(one))
          .join("---\n"),
      );
      await quotaCounted(async (path) => (await api.send("GET", path)).body, namespace);
      const quarter = makeQuarter(environment, { id: tenant, namespace, dialect, realm });
      quarters.push(quarter);
      return quarter;
    },
    async ready({ id: tenant }) {
      let said = "nothing";
      for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(100)) {
        const { status, body } = await api.send("GET", objectPath("Tenant", { name: tenant }));
        assert(status === 200, `Tenant ${tenant}: ${status}`);
        const found = liveTenant.parse(body);
        const ready = found.status?.conditions?.find(({ type }) => type === "Ready");
        if (ready?.status === "True") return;
        said = ready?.message ?? said;
      }
      throw new Error(`Tenant ${tenant} is not ready; it says ${said}`);
    },
    async start(pair, roles = ["webhook", "reconciler"], settings = {}) {
      const product = await startProduct(env, {
        id: `crash-${pair}`,
        roles,
        env: { DATABASE_URL: databaseURL, NODE_COMPILE_CACHE: environment.compiled, ...settings },
        waitFor: roles.includes("webhook") ? "ready" : "alive",
      });
      products.push(product);
      return product;
    },
    async close() {
      await Promise.all(products.map((product) => product.stop()));
      await environment.removeWebhooks();
      for (const quarter of quarters) await abandon(api, quarter.id, quarter.namespace);
      // Several may have shared one.
      for (const realm of new Set(quarters.map((quarter) => quarter.realm))) environment.giveBack(realm);
      await Promise.all([db.end(), reader.close()]);
      await environment.dropDatabase(database);
    },
  };
}

function makeQuarter({ api }: Environment, facts: Pick<Quarter, "id" | "namespace" | "dialect" | "realm">): Quarter {
  const { id, namespace } = facts;
  const path = (name: string): string => objectPath("TenantUser", { namespace, name });
  const quarter: Quarter = {
    ...facts,
    email: (local) => `${local}@${id}.example`,
    async apply(name, spec = {}) {
      const object = {
        apiVersion: API_VERSION,
        kind: "TenantUser",
        metadata: { name },
        spec: { email: quarter.email(name), ...spec },
      };
      const query = "fieldManager=kustomize-controller&force=true";
      const answer = await api.send("PATCH", `${path(name)}?${query}`, object, "application/apply-patch+yaml");
      assert(answer.status < 300, `PATCH ${name} was answered with ${answer.status}: ${JSON.stringify(answer.body)}`);
      return liveTenantUser.parse(answer.body).metadata.deletionTimestamp === undefined;
    },
    async remove(name) {
      const { status } = await api.send("DELETE", path(name));
      assert(status < 300 || status === 404, `DELETE ${name} was answered with ${status}`);
    },
    async users() {
      return userList.parse((await api.send("GET", collectionPath("TenantUser", namespace))).body).items;
    },
    async ready() {
      return new Set((await quarter.users()).filter(isReady).map(({ metadata }) => metadata.name));
    },
    async user(name) {
      const { status, body } = await api.send("GET", path(name));
      return status === 404 ? undefined : liveTenantUser.parse(body);
    },
  };
  return quarter;
}

export function isReady({ metadata, status }: LiveTenantUser): boolean {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return status?.observedGeneration === metadata.generation && ready?.status === "True";
}
