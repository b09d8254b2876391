/** What all parts stand on: a stack, and a clean place on it for each of them. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Pool } from "pg";
import { parse, parseAllDocuments } from "yaml";
import * as z from "zod";

import { API_VERSION, GROUP, KINDS, VERSION } from "../src/api/meta.ts";
import { migrate } from "../src/store/migrate.ts";
import { makePool } from "../src/store/pool.ts";
import type { StackEnv } from "../stack/index.ts";
import { applyText, connectKube, type Kube, kubectl } from "../stack/kube.ts";
import { quotaCounted, tenantReady } from "../stack/onboard.ts";
import { projectRoot } from "../stack/paths.ts";
import { type Product, startProduct } from "../stack/product/index.ts";
import { tenantRealm, type TenantRealm } from "../stack/realm.ts";
import { renderTenant, renderTenantSecrets, type TenantPatch } from "../stack/tenant.ts";
import { createDatabase, databaseURL, dropDatabase } from "../test/support/postgresServer.ts";
import { standInControl, type StandInControl } from "../test/support/standInControl.ts";
import { removeAll } from "./etcd.ts";
import { type Api, connectApi } from "./kube.ts";
import type { Sizes } from "./sizes.ts";
import { toYAML } from "../src/lib/yaml.ts";

export interface Environment {
  readonly env: StackEnv;
  readonly sizes: Sizes;
  readonly api: Api;
  readonly kube: Kube;
  readonly gateway: StandInControl;
  /** The built program. */
  readonly dist: string;
  /** Folder for logs of what is started here. */
  readonly logs: string;
  /** Progress. */
  readonly tell: (what: string) => void;
  /** Makes an empty place: no people, no Tenants, no accounts; a fresh, migrated database. */
  place(name: string): Promise<Place>;
  /** All people and Tenants out of the cluster, without anybody's leave. */
  clear(): Promise<void>;
  close(): void;
}

export interface Place {
  readonly name: string;
  readonly databaseURL: string;
  readonly db: Pool;
  /** The product as the image runs it, on this place's database. */
  start(env?: Readonly<Record<string, string>>, more?: Partial<Parameters<typeof startProduct>[1]>): Promise<Product>;
  tenant(options?: TenantOptions): Promise<BenchTenant>;
  close(): Promise<void>;
}

export interface TenantOptions {
  readonly id?: string;
  /** Default: one, named after the id. Only the first gets its Role; the others must be there. */
  readonly namespaces?: readonly string[];
  /** Default: a realm of its own. */
  readonly realm?: TenantRealm;
  readonly keycloakURL?: string;
  readonly newapiURL?: string;
}

export interface BenchTenant {
  readonly id: string;
  readonly namespace: string;
  readonly realm: TenantRealm;
  /** Collection of its people. */
  readonly path: string;
  /** Resolves when the product calls it ready. */
  ready(): Promise<void>;
}

/** The kind whose status the floor writes: the same schema, in a group that the product does not know. */
export const FLOOR_KIND = {
  group: "floor.bench.example",
  apiVersion: `floor.bench.example/${VERSION}`,
  kind: "TenantUser",
  plural: "tenantusers",
};

const FLUX = /(^|\.)toolkit\.fluxcd\.io\//;

export async function openEnvironment(env: StackEnv, sizes: Sizes, tell: (what: string) => void): Promise<Environment> {
  const logs = join(env.STACK_DIR, "logs", "bench");
  mkdirSync(logs, { recursive: true });
  const [api, kube] = await Promise.all([connectApi(env.KUBECONFIG), connectKube(env)]);
  const gateway = standInControl(env.NEWAPI_URL);
  await applyText(env, floorDefinition());
  // Ids of this run: several may follow each other on one stack.
  const run = (Date.now() % 46_656_000).toString(36);
  let count = 0;

  const environment: Environment = {
    env,
    sizes,
    api,
    kube,
    gateway,
    dist: join(projectRoot, "dist"),
    logs,
    tell,
    async place(name) {
      await wipe(env);
      await gateway.reset();
      const database = `bench_${name}`;
      await dropDatabase(env.POSTGRES_URL, database);
      await createDatabase(env.POSTGRES_URL, database);
      const url = databaseURL(env.POSTGRES_URL, database);
      await migrate({ url });
      return makePlace(environment, { name, url, database, nextID: () => `b${run}-${(count += 1)}` });
    },
    clear: () => wipe(env),
    close() {
      kube.close();
      api.close();
    },
  };
  return environment;
}

function makePlace(
  environment: Environment,
  { name, url, database, nextID }: { name: string; url: string; database: string; nextID: () => string },
): Place {
  const { env } = environment;
  const db = makePool({ url, max: 4, applicationName: "bench", statementTimeoutMs: 0, onIdleError: () => {} });
  const products = new Set<Product>();
  return {
    name,
    databaseURL: url,
    db,
    async start(more = {}, options = {}) {
      const product = await startProduct(env, {
        id: "bench",
        from: "dist",
        ...options,
        env: { DATABASE_URL: url, ...more },
      });
      products.add(product);
      return product;
    },
    tenant: (options = {}) => makeTenant(env, nextID(), options),
    async close() {
      for (const product of products) await product.stop();
      await db.end();
      await wipe(env);
      await dropDatabase(env.POSTGRES_URL, database);
    },
  };
}

async function makeTenant(env: StackEnv, freshID: string, options: TenantOptions): Promise<BenchTenant> {
  const id = options.id ?? freshID;
  const [namespace = `tenant-${id}`] = options.namespaces ?? [];
  const server = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
  const realm = options.realm ?? (await tenantRealm(server, { realm: id, loginByMail: true }));
  const values = {
    TENANT: id,
    NAMESPACE: namespace,
    GIT_URL: "http://none.invalid/people.git",
    KEYCLOAK_URL: options.keycloakURL ?? env.KEYCLOAK_URL,
    KEYCLOAK_REALM: realm.realm,
    NEWAPI_URL: options.newapiURL ?? env.NEWAPI_URL,
    NEWAPI_PUBLIC_URL: env.NEWAPI_URL,
    DELETION_GRACE: "0s",
    MAX_OBJECTS: "200k",
  };
  const patch: TenantPatch = options.namespaces === undefined ? {} : { namespaces: [...options.namespaces] };
  await kubectl(env, ["create", "namespace", namespace]).catch(() => undefined);
  const secrets = renderTenantSecrets(values, {
    keycloak: { clientID: realm.clientID, clientSecret: realm.clientSecret },
    newapi: { token: env.NEWAPI_ADMIN_TOKEN },
    git: { username: "none", password: "none" },
  });
  const shape = z.looseObject({ apiVersion: z.string() });
  // Without a repository: people are applied here as Flux would.
  const objects = parseAllDocuments(renderTenant(values, patch))
    .map((document) => shape.parse(document.toJS()))
    .filter(({ apiVersion }) => !FLUX.test(apiVersion));
  await applyText(env, `${secrets}---\n${objects.map((object) => toYAML(object)).join("---\n")}`);
  return {
    id,
    namespace,
    realm,
    path: `/apis/${API_VERSION}/namespaces/${namespace}/${KINDS.TenantUser.plural}`,
    async ready() {
      await tenantReady(env, id, 180_000);
      const kube = await connectKube(env);
      await quotaCounted((path) => kube.get(path), namespace).finally(() => kube.close());
    },
  };
}

/** One by one would take minutes, and ask for the reconciler's leave. */
async function wipe(env: StackEnv): Promise<void> {
  for (const group of [GROUP, FLOOR_KIND.group]) await removeAll(env, `/registry/${group}/`);
}

/** Our CRD under another group's name. */
function floorDefinition(): string {
  const file = join(projectRoot, "manifests", "crd", `${GROUP}_${KINDS.TenantUser.plural}.yaml`);
  const crd = z.looseObject({ metadata: z.looseObject({}), spec: z.looseObject({ names: z.looseObject({}) }) });
  const definition = crd.parse(parse(readFileSync(file, "utf8")));
  return toYAML({
    ...definition,
    metadata: { name: `${FLOOR_KIND.plural}.${FLOOR_KIND.group}` },
    spec: {
      ...definition.spec,
      group: FLOOR_KIND.group,
      names: { kind: FLOOR_KIND.kind, plural: FLOOR_KIND.plural, singular: "tenantuser" },
    },
  });
}
