/** Any contents that the books may have when an object asks for a row: few people, addresses and uuids, so that they meet. */
import fc from "fast-check";
import { candidateUUID } from "../../src/api/names.ts";
import type { BindRequest } from "../../src/store/bindings.ts";
import type { Pool } from "../../src/store/pool.ts";

type Row = Readonly<Record<string, unknown>> & { readonly sme_user_uuid: string };

export interface Books {
  readonly rows: readonly Row[];
  readonly waiting: readonly Readonly<Record<string, unknown>>[];
  readonly bindRequest: BindRequest;
  /** Whether a pin that nobody here knows is a user's of this tenant in Keycloak. */
  readonly carried: boolean;
}

const LONG_AGO = new Date("2020-01-01T00:00:00Z");
const TENANTS = ["acme", "umbrella"] as const;
const EMAILS = ["ada@example.com", "ida@example.com"] as const;
const object = (n: number): string => `0b000000-0000-4000-8000-00000000000${n}`;
const OBJECTS = [1, 2, 3].map(object);
const UUIDS: readonly string[] = [
  ...TENANTS.flatMap((tenant) => EMAILS.map((email) => candidateUUID(tenant, email))),
  candidateUUID("acme", EMAILS[0], 2),
  "aaaaaaaa-0000-4000-8000-000000000001",
  "aaaaaaaa-0000-4000-8000-000000000002",
];
const STATES = ["pending", "kc_created", "done", "failed", "deleting", "deleted", "retained", "orphaned"];

const maybe = <T>(some: fc.Arbitrary<T>, nil: number, weight: number): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: nil, arbitrary: fc.constant(null) }, { weight, arbitrary: some });
const moment = fc.integer({ min: 0, max: 3 }).map((day) => new Date(LONG_AGO.getTime() + day * 86_400_000));

const row = (uuid: string): fc.Arbitrary<Row> =>
  fc
    .record({
      sme_tenant_id: fc.constantFrom(...TENANTS),
      email: fc.constantFrom(...EMAILS, "eve@example.com"),
      object_uid: maybe(fc.constantFrom(...OBJECTS), 1, 3),
      confirmed_at: maybe(moment, 2, 1),
      voided_at: maybe(moment, 4, 1),
      state: fc.constantFrom(...STATES, "pending", "pending"),
      reached: fc.constantFrom("pending", "kc_created", "done"),
      kc_user_id: maybe(fc.constant("kc-1"), 1, 1),
      newapi_user_id: maybe(fc.constant("na-1"), 1, 1),
      adopted: fc.boolean(),
      lease_owner: maybe(fc.constant(7), 3, 1),
      retry_count: fc.constantFrom(0, 3),
      backoff_until: maybe(moment, 3, 1),
      blocked_on: maybe(fc.constant("1|r1||"), 3, 1),
      run: maybe(fc.constant({ reason: "create", generation: 1, step: "newapi", attempt: 0 }), 2, 1),
      rotation: maybe(fc.constant({ toGeneration: 2 }), 3, 1),
      released: fc.boolean(),
      undone: fc.subarray(["secret", "newapi", "keycloak"]),
      isGoing: maybe(fc.constant(true), 5, 1),
    })
    .map(({ released, undone, isGoing, ...columns }) => ({
      sme_user_uuid: uuid,
      ...columns,
      // A confirmed row is never void; a row that goes says how far it is.
      voided_at: columns.confirmed_at === null ? columns.voided_at : null,
      deleting:
        columns.state === "deleting" || isGoing === true
          ? { since: "2020-01-01T00:00:00Z", objectUID: object(9), undone, locked: [], released }
          : null,
      object_namespace: "tenant-b",
      object_name: `of-${uuid.slice(0, 4)}`,
      created_at: LONG_AGO,
      updated_at: LONG_AGO,
    }));

const pendingUser = (uid: string) =>
  fc.record({
    object_uid: fc.constant(uid),
    namespace: fc.constant("tenant-b"),
    name: fc.constant("who-waits"),
    tenant: maybe(fc.constantFrom(...TENANTS), 1, 3),
    email: fc.constantFrom(...EMAILS),
    created_at: moment,
    why: fc.constantFrom("QuotaFull", "QuotaFull", "EmailInUse"),
  });

const bindRequest: fc.Arbitrary<BindRequest> = fc.record({
  uid: fc.constantFrom(...OBJECTS),
  namespace: fc.constant("tenant-a"),
  name: fc.constant("ada"),
  createdAt: moment,
  tenantID: fc.constant("acme"),
  email: fc.constantFrom(...EMAILS),
  pin: fc.option(fc.constantFrom(...UUIDS), { nil: undefined, freq: 2 }),
  maxUsers: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
  clusterID: fc.constant("c1"),
});

export const books: fc.Arbitrary<Books> = fc
  .record({ uuids: fc.subarray([...UUIDS]), waiting: fc.subarray([...OBJECTS, object(4)]) })
  .chain(({ uuids, waiting }) =>
    fc.record({
      rows: fc.tuple(...uuids.map(row)).map(oneEach),
      waiting: fc.tuple(...waiting.map(pendingUser)),
      bindRequest,
      carried: fc.boolean(),
    }),
  );

/** An object has one confirmed row at most. */
function oneEach(rows: readonly Row[]): Row[] {
  const held = new Set<unknown>();
  return rows.map((each) => {
    const { object_uid: uid, confirmed_at: confirmed } = each;
    if (uid === null || confirmed === null) return each;
    if (held.has(uid)) return { ...each, object_uid: null };
    held.add(uid);
    return each;
  });
}

export async function fill(pool: Pool, { rows, waiting }: Books): Promise<void> {
  await pool.query("with gone as (delete from waiting) delete from user_provision_state");
  for (const [table, records] of [
    ["user_provision_state", rows],
    ["waiting", waiting],
  ] as const) {
    const columns = Object.keys(records[0] ?? {}).join(", ");
    if (columns === "") continue;
    await pool.query(
      `insert into ${table} (${columns}) select ${columns} from jsonb_populate_recordset(null::${table}, $1)`,
      [JSON.stringify(records)],
    );
  }
}

/** All that the books hold, as {@link timeless}. */
export async function read(pool: Pool): Promise<unknown> {
  const { rows } = await pool.query<{ row: unknown }>(
    `select to_jsonb(s) as row from user_provision_state s union all select to_jsonb(w) from waiting w order by 1`,
  );
  return timeless(rows);
}

/** As JSON, with "now" for every moment that is not of long ago: of two who do the same one is later. */
export function timeless(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(/"(?!2020)\d{4}-\d\d-\d\dT[^"]+"/g, '"now"'));
}
