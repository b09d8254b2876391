/** Reads everything that is there of one tenant, from the upstreams themselves: a few questions, however many people. */
import * as z from "zod";
import type { Pool } from "pg";
import { liveTenantUser, type LiveTenantUser } from "../../src/api/tenantUser.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { collectionPath } from "../../src/kube/objects.ts";
import type { TenantRealm } from "../../stack/realm.ts";
import type { ApiServer } from "../support/apiServer.ts";
import type { StandInControl } from "../support/standInControl.ts";
import type { AccountSeen, Inventory, KeycloakUserSeen, RowSeen, SecretSeen } from "./count.ts";
import type { Dialect } from "./chaosPlan.ts";
import { readKeySecrets } from "./keySecrets.ts";

const userList = z.object({ items: z.array(liveTenantUser) });
const API_KEY = "api-key";
const MOST = 2000;

/** Where to ask. */
export interface Sources {
  readonly tenant: string;
  readonly namespace: string;
  readonly dialect: Dialect;
  readonly api: ApiServer;
  readonly db: Pool;
  readonly realm: TenantRealm;
  readonly gateway: StandInControl;
  /** What the gateway answers to this key. */
  opens(apiKey: string): Promise<number>;
  /** Every message about these people. */
  events(uuids: readonly string[]): Promise<readonly UserEvent[]>;
}

/** `known`: keys that were seen in Secrets before; each is tried. */
export async function takeInventory(from: Sources, known: Iterable<string> = []): Promise<Inventory> {
  const [objects, keycloakUsers, accounts, secrets, rows, left] = await Promise.all([
    readObjects(from),
    readKeycloak(from),
    readAccounts(from),
    readSecrets(from),
    readRows(from),
    readLeft(from),
  ]);
  const opens = new Map<string, number>();
  for (const key of new Set([...known, ...secrets.map(({ apiKey }) => apiKey)])) opens.set(key, await from.opens(key));
  const events = await from.events(rows.map(({ uuid }) => uuid));
  return { tenant: from.tenant, objects, keycloakUsers, accounts, secrets, rows, ...left, events, opens };
}

async function readObjects({ api, namespace }: Sources): Promise<LiveTenantUser[]> {
  const { body } = await api.send("GET", collectionPath("TenantUser", namespace));
  return userList.parse(body).items;
}

async function readKeycloak({ realm }: Sources): Promise<KeycloakUserSeen[]> {
  const users = await realm.admin.users.find({ max: MOST, briefRepresentation: false });
  const members = new Map<string, Set<string | undefined>>();
  for (const [path, id] of realm.groups) {
    members.set(path, new Set((await realm.admin.groups.listMembers({ id, max: MOST })).map((member) => member.id)));
  }
  return users.map(({ id = "", email = "", enabled = false, attributes = {} }) => ({
    id,
    email,
    enabled,
    tenantMark: mark(attributes, "sme_tenant_id"),
    uuidMark: mark(attributes, "sme_user_uuid"),
    groups: [...members].filter(([, ids]) => ids.has(id)).map(([path]) => path),
  }));
}

function mark(attributes: Readonly<Record<string, unknown>>, name: string): string | undefined {
  return z.tuple([z.string()]).optional().catch(undefined).parse(attributes[name])?.[0];
}

async function readAccounts({ gateway, tenant, dialect }: Sources): Promise<AccountSeen[]> {
  if (dialect === "new-api") {
    return (await gateway.newApiUsers())
      .filter(({ remark, DeletedAt }) => remark?.startsWith(`${tenant}/`) === true && DeletedAt === null)
      .map((user) => ({
        id: String(user.id),
        uuid: user.remark?.slice(tenant.length + 1) ?? "",
        disabled: user.status !== 1,
        keys: user.keySHA256,
      }));
  }
  return (await gateway.users())
    .filter(({ tenant_id }) => tenant_id === tenant)
    .map((user) => ({ id: user.user_id, uuid: user.external_id, disabled: user.disabled, keys: user.keySHA256 }));
}

export async function readSecrets({ api, namespace }: Pick<Sources, "api" | "namespace">): Promise<SecretSeen[]> {
  const secrets = await readKeySecrets(api, namespace);
  return secrets.map(({ name, data }) => ({ name, apiKey: data[API_KEY] ?? "" }));
}

async function readRows({ db, tenant }: Sources): Promise<RowSeen[]> {
  const { rows } = await db.query<RowSeen>(
    `select sme_user_uuid as uuid, object_uid as "objectUID", state, coalesce(kc_user_id, newapi_user_id) is null as "madeNothing",
            due_at is not null or lease_owner is not null or run is not null or rotation is not null
              or blocked_on is not null as busy
       from user_provision_state
      where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null`,
    [tenant],
  );
  return rows;
}

async function readLeft({ db, tenant }: Sources): Promise<{ waiting: number; unsent: number }> {
  const { rows } = await db.query<{ waiting: number; unsent: number }>(
    `select (select count(*)::int from waiting where tenant = $1) as waiting,
            (select count(*)::int from outbox where sent_at is null) as unsent`,
    [tenant],
  );
  return rows[0] ?? { waiting: 0, unsent: 0 };
}
