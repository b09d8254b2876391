/** Text that one tenant or upstream wrote, on a real Postgres: it is stored and compared as what it is, and nobody else notices. */
import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, type ObjectMeta } from "../../src/api/meta.ts";
import { makeJobs } from "../../src/lib/jobs.ts";
import { watchUsers } from "../../src/triggers/users.ts";
import type { WatchEvent } from "../../src/kube/cluster.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makePendingUsers } from "../../src/reconciler/pending.ts";
import { makeIntake } from "../../src/reconciler/intake.ts";
import type { RowPatch, SagaRow } from "../../src/saga/row.ts";
import { type AuditEntry, appendAudit, keepAudit } from "../../src/store/audit.ts";
import { bind } from "../../src/store/bindings.ts";
import { claimDue, record } from "../../src/store/claims.ts";
import { ringSentence } from "../../src/store/emailRing.ts";
import { enqueueEvents } from "../../src/store/outbox.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { compareList, type ObservedObject } from "../../src/store/observations.ts";
import { compareSecrets } from "../../src/store/secretObservations.ts";
import { sparingTheRest } from "../../src/store/values.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import { bindRequest, CLUSTER } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { NO_PINS } from "../support/pins.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { soon } from "../support/soon.ts";
import { useStore } from "../support/store.ts";

let database: TestDatabase;
let pool: Pool;
useStore((...opened) => ([pool, database] = opened), { emptied: "user_provision_state, waiting, outbox, audit" });

/** The same pool, and the most rows that one statement gave. */
function counting(): { readonly pool: Pool; most(): number } {
  let most = 0;
  const counted = <T extends object>(of: T): T =>
    new Proxy(of, {
      get(target, name) {
        const field: unknown = Reflect.get(target, name);
        if (typeof field !== "function") return field;
        const call = field.bind(target) as (...given: unknown[]) => unknown;
        if (name === "connect") return async () => counted((await call()) as object);
        if (name !== "query") return call;
        return async (...given: unknown[]) => {
          const answer = (await call(...given)) as { readonly rows: readonly unknown[] };
          most = Math.max(most, answer.rows.length);
          return answer;
        };
      },
    });
  return { pool: counted(pool), most: () => most };
}

const HOSTILE = [
  "\u0000",
  "a\u0000b",
  "\\",
  "2026-11-30T15:00:00Z\\",
  "%",
  "_",
  "\ud83d",
  "\\u0000",
  "'; drop table audit; --",
  "$1",
  "|",
  "||||",
  "\u202e",
  "x".repeat(250_000),
];

async function rested(name: string, columns: Record<string, unknown> = {}): Promise<SagaRow> {
  const found = await bind(
    pool,
    bindRequest({ name, uid: randomUUID(), email: `${name}@example.com` }),
    () => undefined,
  );
  if (found.kind !== "bound") throw new Error("not bound");
  const all = {
    state: "done",
    reached: "done",
    kc_user_id: "kc-1",
    due_at: null,
    handled: JSON.stringify({ generation: 1, tenantRevision: "r1", key: "works", notes: [] }),
    ...columns,
  };
  await pool.query(
    `update user_provision_state set ${Object.keys(all)
      .map((column, n) => `${column} = $${n + 2}`)
      .join(", ")} where sme_user_uuid = $1`,
    [found.row.uuid, ...Object.values(all)],
  );
  return again(found.row);
}

async function again({ uuid }: { readonly uuid: string }): Promise<SagaRow> {
  const found = await loadSaga(pool, uuid);
  if (found === undefined) throw new Error("the row is gone");
  return found;
}

const observed = (row: SagaRow, given: Partial<ObservedObject> = {}): ObservedObject => ({
  uid: row.objectUID ?? "",
  namespace: "tenant-a",
  name: row.name ?? "",
  generation: 1,
  deleting: false,
  requestedAt: undefined,
  rotateRequestedAt: undefined,
  ...given,
});

describe("a list in which one tenant's objects hold anything", () => {
  test.each(HOSTILE)("is compared for everybody else (%#)", async (text) => {
    const [bystander, blocked, still] = [
      await rested("bystander"),
      await rested("blocked", { state: "failed", blocked_on: "3|r1||" }),
      await rested("still"),
    ];
    const attacker = await rested("attacker", { state: "failed", blocked_on: "1|r1||" });
    const outcome = await compareList(pool, CLUSTER, [
      observed(attacker, { requestedAt: text, rotateRequestedAt: text }),
      observed(bystander, { generation: 2 }),
      observed(blocked, { generation: 3, requestedAt: text }),
      observed(still),
    ]);
    expect(outcome).toEqual({ unbound: [], missing: [] });
    expect((await again(bystander)).dueAt).toBeDefined();
    expect((await again(blocked)).dueAt).toBeDefined();
    expect((await again(attacker)).dueAt).toBeDefined();
    expect((await again(still)).dueAt).toBeUndefined();
  });

  test("is no pattern: what would match everything as one is another value", async () => {
    const row = await rested("ada", { state: "failed", blocked_on: "1|r1||" });
    for (const [requestedAt, rotateRequestedAt] of [
      ["%", undefined],
      [undefined, "%"],
      ["_", "_"],
    ]) {
      await pool.query("update user_provision_state set due_at = null");
      await compareList(pool, CLUSTER, [observed(row, { requestedAt, rotateRequestedAt })]);
      expect((await again(row)).dueAt).toBeDefined();
    }
  });

  test("leaves out what is no object, and takes in the others", async () => {
    const bystander = await rested("bystander");
    const moved = observed(bystander, { generation: 2 });
    const nameless = ["", "..", "not-a-uuid", "\u0000"].map((uid) => ({ ...moved, uid }));
    const outcome = await compareList(pool, CLUSTER, [...nameless, moved]);
    expect(outcome.unbound).toEqual([]);
    expect((await again(bystander)).dueAt).toBeDefined();
    expect(await compareSecrets(pool, "tenant-a", [{ uid: "\u0000", version: "\u0000" }])).toBe(0);
  });

  test("is taken in from the watch, and no row holds a word of it", async () => {
    const [bystander, attacker] = [await rested("bystander"), await rested("attacker")];
    const cluster = makeFakeCluster();
    let deliver: (event: WatchEvent) => Promise<void> | void = () => {};
    const jobs = makeJobs({ concurrency: 8, clock: systemClock, random: () => 0, log: silentLog });
    const clusterID = (): Promise<string> => Promise.resolve(CLUSTER);
    const tenants = { get: () => undefined, byNamespace: () => undefined, all: () => [], loaded: () => true };
    const notify = (): void => {};
    const intake = makeIntake({
      pool,
      cluster,
      clusterID,
      tenants,
      pins: NO_PINS,
      notify,
      clock: systemClock,
      log: silentLog,
    });
    watchUsers({
      openWatch: (_target, onEvent) => {
        deliver = onEvent;
        return { lastProgress: () => 0, synced: Promise.resolve(), stop: () => Promise.resolve() };
      },
      pool,
      cluster,
      clusterID,
      tenants,
      intake,
      pending: makePendingUsers({ pool, intake, jobs, tenants }),
      jobs,
      notify,
      skipped: () => {},
      log: silentLog,
    });
    const object = (row: SagaRow, given: Partial<ObjectMeta> = {}): ObjectMeta => ({
      uid: row.objectUID,
      namespace: "tenant-a",
      name: row.name ?? "",
      generation: 1,
      ...given,
    });
    for (const text of HOSTILE) {
      await pool.query("update user_provision_state set due_at = null");
      const annotations = { [ANNOTATION_REQUESTED_AT]: text, [ANNOTATION_ROTATE_REQUESTED_AT]: text };
      await deliver({
        kind: "listed",
        items: [object(attacker, { annotations }), object(bystander, { generation: 2 })],
      });
      await soon(async () => expect((await again(bystander)).dueAt).toBeDefined());
      expect((await again(attacker)).dueAt).toBeDefined();
    }
    await jobs.stop();
  });
});

describe("what is recorded of an upstream's words", () => {
  const entry = (given: Partial<AuditEntry> = {}): AuditEntry => ({
    id: randomUUID(),
    uuid: randomUUID(),
    tenantID: "acme",
    step: "keycloak",
    action: "created",
    target: "kc-1",
    ...given,
  });

  test.each(HOSTILE)("never fails the record it is part of (%#)", async (text) => {
    const row = await rested("ada", { due_at: new Date(Date.now() - 1000) });
    const session = await openWorkerSession(database.url, "test worker");
    const [claim] = await claimDue(pool, session.owner, 1);
    if (claim === undefined) throw new Error("nothing was due");
    const at = new Date().toISOString();
    const patch: RowPatch = {
      keycloakUserID: text,
      newapiUsername: text,
      lastError: { step: "newapi", class: "transient", code: "X", message: text, at },
      history: [{ at, state: "failed", reason: "X", message: text }],
      blockedOn: `1|r1|${text}|`,
    };
    await record(pool, claim, {
      patch,
      lease: { dueAt: null },
      audit: [entry({ uuid: row.uuid, target: text, detail: { [text]: text } })],
      events: [],
    });
    expect((await loadSaga(pool, row.uuid))?.lastError?.message.isWellFormed()).toBe(true);
    expect((await pool.query("select from audit")).rowCount).toBe(1);
    await enqueueEvents(pool, []);
    await session.close();
  });

  test("an entry that cannot be written is given up, and the others of its batch are kept", async () => {
    const good = [entry(), entry({ target: "\u0000", detail: { said: "\ud800\u0000" } }), entry()];
    const bad = entry({ uuid: "no uuid at all" });
    const skipped: unknown[] = [];
    await keepAudit(pool, [good[0]!, bad, good[1]!, good[2]!], (one) => skipped.push(one));
    expect(skipped).toEqual([bad]);
    expect((await pool.query("select from audit")).rowCount).toBe(3);
    await expect(appendAudit(pool, [bad])).rejects.toThrow("uuid");
  });

  test("an outage is nobody's fault: nothing is left out because of it", async () => {
    const gone = Object.assign(new Error("terminating connection"), { code: "57P01" });
    const skipped: unknown[] = [];
    await expect(
      sparingTheRest(
        [1, 2],
        () => Promise.reject(gone),
        (one) => skipped.push(one),
      ),
    ).rejects.toBe(gone);
    expect(skipped).toEqual([]);
  });
});

describe("the statements of a connection", () => {
  test("are a bounded number, whatever is recorded", async () => {
    await using single = await alone();
    const generation = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    const session = await openWorkerSession(database.url, "test worker");
    await rested("ada");
    let known = 0;
    await fc.assert(
      fc.asyncProperty(generation, fc.string(), fc.boolean(), async (number, text, ends) => {
        await pool.query("update user_provision_state set due_at = now(), lease_owner = null, lease_until = null");
        const [claim] = await claimDue(single.pool, session.owner, 1);
        if (claim === undefined) throw new Error("nothing was due");
        const handled = { generation: number, tenantRevision: text, key: "works", notes: [text] } as const;
        await record(single.pool, claim, {
          patch: { run: null, handled, retryCount: 0 },
          lease: ends ? { dueAt: null } : "keep",
          audit: [],
          events: [],
        });
      }),
      { numRuns: 60 },
    );
    const { rows } = await single.pool.query<{ n: number }>("select count(*)::int as n from pg_prepared_statements");
    known = rows[0]?.n ?? 0;
    await session.close();
    expect(known).toBeGreaterThan(1);
    expect(known).toBeLessThanOrEqual(4);
  });
});

async function alone(): Promise<{ readonly pool: Pool } & AsyncDisposable> {
  const single = makePool({ url: database.url, max: 1, applicationName: "test" });
  return { pool: single, [Symbol.asyncDispose]: () => single.end() };
}

describe("an address that thousands had, one after the other", () => {
  const past = (state: string, count: number) =>
    pool.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, confirmed_at, cluster_id, deleting)
       select gen_random_uuid(), 'acme', 'ada@example.com', $1, now(), $3,
         case when $1 = 'deleting' then '{"since":"2026-05-01T10:00:00Z","undone":[],"released":true}'::jsonb end
       from generate_series(1, $2::int)`,
      [state, count, CLUSTER],
    );
  const free = () => undefined;

  test.each(["deleted", "retained", "orphaned", "deleting"])("%s: a few of them are looked at", async (state) => {
    await past("deleted", 2_000);
    if (state !== "deleted") await past(state, 1_000);
    const counted = counting();
    const bound = await bind(counted.pool, bindRequest(), free);
    expect(bound).toMatchObject({ kind: "bound", returned: true });
    expect(counted.most()).toBeLessThanOrEqual(21);
  });

  test("whoever has it now is seen, and so is the object's own row", async () => {
    const ada = bindRequest();
    await bind(pool, ada, free);
    await past("deleting", 1_000);
    const counted = counting();
    expect(await bind(counted.pool, bindRequest(), free)).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
    expect(await bind(counted.pool, { ...ada, pin: randomUUID() }, free)).toMatchObject({ kind: "refused" });
    expect(counted.most()).toBeLessThanOrEqual(21);
  });
});

test("a ring of everybody a tenant has is told in one sentence, naming a few", () => {
  const ring = Array.from({ length: 5_000 }, (_wish, n) => {
    const name = `${"x".repeat(240)}-${n}`;
    return { uid: randomUUID(), namespace: n < 4_000 ? "tenant-a" : "tenant-b", name, has: `${n}`, wants: `${n + 1}` };
  });
  const told = ringSentence(ring, "tenant-a");
  expect(told.length).toBeLessThan(2_000);
  expect(told).toContain("3995 more and 1000 TenantUsers in other namespaces of this tenant want each other's emails");
});
