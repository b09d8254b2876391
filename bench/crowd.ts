/** People who are finished, made out of nothing: objects in the API server's store, rows in Postgres. Nothing is due. */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import * as z from "zod";

import { API_VERSION, FINALIZER, GROUP, KINDS } from "../src/api/meta.ts";
import { putAll, removeAll } from "./etcd.ts";
import type { BenchTenant, Environment, Place } from "./environment.ts";

const PEOPLE = `/registry/${GROUP}/${KINDS.TenantUser.plural}/`;

export async function removeCrowd(environment: Environment, { db }: Place): Promise<void> {
  await removeAll(environment.env, PEOPLE);
  await db.query("truncate user_provision_state");
}

/** The Tenant must have been ready once: the rows carry its revision. */
export async function makeCrowd(
  environment: Environment,
  { db }: Place,
  tenant: BenchTenant,
  count: number,
): Promise<void> {
  const uids = Array.from({ length: count }, () => randomUUID());
  const objects = uids.map((uid, n) => [`${PEOPLE}${tenant.namespace}/crowd-${n}`, person(tenant, n, uid)] as const);
  await putAll(environment.env, new Map(objects));
  const { rows } = await db.query<{ revision: string }>("select revision from tenants where tenant_id = $1", [
    tenant.id,
  ]);
  const revision = rows[0]?.revision;
  if (revision === undefined) throw new Error(`Tenant ${tenant.id} was never accepted`);
  await db.query(
    `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, reached, kc_user_id, newapi_user_id,
       cluster_id, object_uid, object_namespace, object_name, object_created_at, confirmed_at, handled)
     select gen_random_uuid(), $1, 'crowd-' || n - 1 || '@bench.example', 'done', 'done', gen_random_uuid(), n::text,
       $2, uid, $3, 'crowd-' || n - 1, now(), now(), $4
     from unnest($5::uuid[]) with ordinality as o (uid, n)`,
    [tenant.id, await clusterID(environment), tenant.namespace, JSON.stringify(handled(revision)), uids],
  );
}

function handled(tenantRevision: string): object {
  return { generation: 1, tenantRevision, key: "works", tier: "default", notes: [] };
}

async function clusterID({ api }: Environment): Promise<string> {
  const shape = z.object({ metadata: z.object({ uid: z.string() }) });
  return shape.parse(await api.send({ method: "GET", path: "/api/v1/namespaces/kube-system" })).metadata.uid;
}

function person(tenant: BenchTenant, n: number, uid: string): object {
  const now = "2026-01-01T00:00:00Z";
  const name = `crowd-${n}`;
  const secretName = `newapi-key-${uid}`;
  const condition = (type: string): object => ({
    type,
    status: "True",
    observedGeneration: 1,
    lastTransitionTime: now,
    reason: "Provisioned",
    message: "Everything is in place.",
  });
  const managed = (manager: string, fieldsV1: object, subresource?: string): object => ({
    manager,
    operation: "Apply",
    apiVersion: API_VERSION,
    time: now,
    fieldsType: "FieldsV1",
    fieldsV1,
    subresource,
  });
  return {
    apiVersion: API_VERSION,
    kind: "TenantUser",
    metadata: {
      name,
      namespace: tenant.namespace,
      uid,
      generation: 1,
      creationTimestamp: now,
      finalizers: [FINALIZER],
      labels: { [`${GROUP}/sme-tenant`]: tenant.id, "kustomize.toolkit.fluxcd.io/name": "users" },
      managedFields: [
        managed("kustomize-controller", { "f:spec": { "f:email": {}, "f:displayName": {} } }),
        managed("unified-rbac", { "f:status": { "f:state": {}, "f:userUUID": {}, "f:conditions": {} } }, "status"),
      ],
    },
    spec: { email: `${name}@bench.example`, displayName: "Grace Hopper" },
    status: {
      observedGeneration: 1,
      state: "done",
      userUUID: uid,
      secretName,
      binding: { name: secretName },
      conditions: ["Ready", "KeycloakReady", "NewAPIReady", "SecretReady"].map(condition),
    },
  };
}

/** Rows at rest and no objects, for what is asked of Postgres alone; `tenants` of them in turn. */
export async function makeRows(db: Pool, count: number, tenants: number): Promise<void> {
  await db.query(
    `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, reached, kc_user_id, newapi_user_id,
       cluster_id, object_uid, object_namespace, object_name, object_created_at, confirmed_at, handled)
     select gen_random_uuid(), 'tenant-' || n % $2::int, 'crowd-' || n || '@bench.example', 'done', 'done', gen_random_uuid(),
       n::text, 'bench', gen_random_uuid(), 'tenant-' || n % $2::int, 'crowd-' || n, now(), now(), $3
     from generate_series(1, $1::int) as n`,
    [count, tenants, JSON.stringify(handled("1"))],
  );
  await db.query("vacuum analyze user_provision_state");
}
