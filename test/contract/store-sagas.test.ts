/** The store on a real Postgres: claims and their fences, uuids, handing over, what the watch saw, outbox and audit. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { userEvent, type UserEvent } from "../../src/api/userEvent.ts";
import type { Handled, RowPatch, SagaRow } from "../../src/saga/row.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { appendAudit } from "../../src/store/audit.ts";
import { type BindRequest, bind, type Binding } from "../../src/store/bindings.ts";
import { handOver, moveEmail, takeOver } from "../../src/store/moves.ts";
import { firstPendingUser, forgetBindRequest, waitForTenant } from "../../src/store/waiting.ts";
import {
  afterRecord,
  type Claim,
  claimDue,
  earliestDueMs,
  giveBackLost,
  livingWorkers,
  lookAfterLate,
  record,
  type Recorded,
  type Recording,
} from "../../src/store/claims.ts";
import {
  deferEvent,
  enqueueEvents,
  forgetSentEvents,
  markSent,
  parkedEvents,
  parkEvent,
  unparkEvents,
  unsentEvents,
  withOutbox,
} from "../../src/store/outbox.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import {
  compareList,
  markSeenDeleted,
  type ObservedObject,
  orphanForeignRows,
  touchObject,
  voidUnconfirmed,
} from "../../src/store/observations.ts";
import { ownerlessSagas } from "../../src/store/operator.ts";
import { resumeHeld, touchUnsettled, touchWaiting } from "../../src/store/resumptions.ts";
import { compareSecrets, touchSecret } from "../../src/store/secretObservations.ts";
import { readStats } from "../../src/store/stats.ts";
import { openWorkerSession, type WorkerSession } from "../../src/store/workerSession.ts";
import { bindRequest, CLUSTER } from "../support/builders.ts";
import { type TestDatabase } from "../support/postgres.ts";
import { statementJournal } from "../support/statementJournal.ts";
import { listWaiting, useStore } from "../support/store.ts";

let database: TestDatabase;
let pool: Pool;
const sessions: WorkerSession[] = [];

useStore((...opened) => ([pool, database] = opened), { max: 20 });
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  await pool.query("truncate user_provision_state, waiting, outbox, audit");
});

async function worker(): Promise<WorkerSession> {
  const session = await openWorkerSession(database.url, "test worker");
  sessions.push(session);
  return session;
}

const nobody = (): undefined => undefined;

async function bound(given: Partial<BindRequest> = {}): Promise<SagaRow> {
  return rowOf(await bind(pool, bindRequest(given), nobody));
}

function rowOf(binding: Binding | undefined): SagaRow {
  if (binding?.kind !== "bound") throw new Error(`not bound: ${JSON.stringify(binding)}`);
  return binding.row;
}

/** Sets what a test is about, as a record would have. */
async function set(row: SagaRow, columns: Record<string, unknown>): Promise<SagaRow> {
  const names = Object.keys(columns);
  if (names.length === 0) return again(row);
  await pool.query(
    `update user_provision_state set ${names.map((name, i) => `${name} = $${i + 2}`).join(", ")} where sme_user_uuid = $1`,
    [row.uuid, ...Object.values(columns)],
  );
  return again(row);
}

async function again(row: { uuid: string }): Promise<SagaRow> {
  const found = await loadSaga(pool, row.uuid);
  if (found === undefined) throw new Error("the row is gone");
  return found;
}

const DONE = { state: "done", reached: "done", kc_user_id: "kc-1", newapi_user_id: "na-1", due_at: null };
const handled = (given: Record<string, unknown> = {}) =>
  JSON.stringify({ generation: 1, tenantRevision: "r1", key: "works", notes: [], ...given });
const deleting = (released: boolean, undone: string[] = []) =>
  JSON.stringify({ since: "2026-05-01T12:00:00.000Z", objectUID: randomUUID(), undone, locked: [], released });

const graced = JSON.stringify({ ...JSON.parse(deleting(true)), purgeAt: "2099-01-01T00:00:00.000Z" });

const quiet: Recording = { patch: {}, lease: { dueAt: null }, audit: [], events: [] };
const giving = (patch: RowPatch, dueAt: Date | null = null): Recording => ({ ...quiet, patch, lease: { dueAt } });

async function claimOne(owner: number): Promise<Claim> {
  const [claim] = await claimDue(pool, owner, 1);
  if (claim === undefined) throw new Error("nothing was due");
  return claim;
}

describe("a worker that comes late", () => {
  test("has the finished looked at from the first step on", async () => {
    const row = await set(await bound(), { ...DONE, handled: handled() });
    expect(await lookAfterLate(pool, [row.uuid])).toEqual([]);
    expect(await again(row)).toMatchObject({ state: "done", run: { reason: "drift", step: "keycloak", done: false } });
    expect((await claimDue(pool, (await worker()).owner, 10)).map((claim) => claim.row.uuid)).toEqual([row.uuid]);
  });

  test("has the undone undone once more, as something that is told to nobody", async () => {
    const row = await set(await bound(), { state: "deleted", due_at: null, object_uid: null });
    await lookAfterLate(pool, [row.uuid]);
    expect(await again(row)).toMatchObject({
      state: "deleting",
      deleting: { undone: [], released: true, again: true },
    });
    expect((await claimDue(pool, (await worker()).owner, 10)).map((claim) => claim.row.uuid)).toEqual([row.uuid]);
  });

  test("asks again about one that is being undone just now, and disturbs nobody at it", async () => {
    const { owner } = await worker();
    const row = await set(await bound(), { state: "deleting", deleting: deleting(false) });
    const claim = await claimOne(owner);
    expect(await lookAfterLate(pool, [row.uuid])).toEqual([row.uuid]);
    const ended = giving({ state: "deleted", deleting: null, objectUID: null });
    expect(await record(pool, claim, ended)).toBeDefined();
    expect(await lookAfterLate(pool, [row.uuid])).toEqual([]);
    expect(await again(row)).toMatchObject({ state: "deleting", deleting: { again: true } });
  });

  test("records nothing of a row that another object has taken up, and keeps others from it until its call has ended", async () => {
    const [late, next] = [await worker(), await worker()];
    const going = await set(await bound(), { state: "deleting", deleting: deleting(true, ["secret"]) });
    const claim = await claimOne(late.owner);
    expect(await bound({ uid: randomUUID() })).toMatchObject({ uuid: going.uuid });
    expect(await record(pool, claim, giving({ state: "deleted", deleting: null }))).toBeUndefined();
    expect(await claimDue(pool, next.owner, 10)).toEqual([]);
    await giveBackLost(pool, late.owner, []);
    expect((await claimDue(pool, next.owner, 10)).map(({ row }) => row.uuid)).toEqual([going.uuid]);
  });

  test("that dies keeps nobody from a row that another object has taken up", async () => {
    const [late, next] = [await worker(), await worker()];
    const going = await set(await bound(), { state: "deleting", deleting: deleting(true, ["secret"]) });
    await claimOne(late.owner);
    await bound({ uid: randomUUID() });
    await late.close();
    expect((await claimDue(pool, next.owner, 10)).map(({ row }) => row.uuid)).toEqual([going.uuid]);
  });

  test("leaves alone who was kept, or never finished", async () => {
    const kept = await set(await bound({ name: "kept" }), { state: "retained", due_at: null });
    const begun = await set(await bound({ name: "begun" }), { due_at: null });
    expect(await lookAfterLate(pool, [kept.uuid, begun.uuid])).toEqual([]);
    expect([await again(kept), await again(begun)]).toEqual([kept, begun]);
  });
});

describe("claiming", () => {
  test("takes what is due and nothing else", async () => {
    const { owner } = await worker();
    const due = await bound({ name: "due" });
    await set(await bound({ name: "later" }), { due_at: new Date(Date.now() + 60_000) });
    await set(await bound({ name: "resting" }), { due_at: null });
    expect((await claimDue(pool, owner, 10)).map((claim) => claim.row.uuid)).toEqual([due.uuid]);
    expect(await claimDue(pool, owner, 10)).toEqual([]);
  });

  test("is fair: one of each tenant before a second of any", async () => {
    const { owner } = await worker();
    for (let n = 0; n < 30; n += 1) await bound({ name: `a${n}`, tenantID: "aaa" });
    await bound({ name: "b", tenantID: "bbb" });
    await bound({ name: "c", tenantID: "ccc" });
    const claims = await claimDue(pool, owner, 4);
    expect(claims.map((claim) => claim.row.tenantID).toSorted()).toEqual(["aaa", "aaa", "bbb", "ccc"]);
  });

  test.each([
    ["in a database that is new", ""],
    ["after a time of rest", "analyze user_provision_state"],
  ])("reads no more rows, however many are due: %s", async (_name, before) => {
    const { owner } = await worker();
    await pool.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, confirmed_at)
       select gen_random_uuid(), 'acme', n || '@example.com', now() from generate_series(1, 1000) as n`,
    );
    await pool.query(before);
    await pool.query("update user_provision_state set due_at = now()");
    const client = await pool.connect();
    const rowsRead = async (): Promise<number> => {
      const { rows } = await client.query<{ read: string }>(
        "select idx_tup_fetch + seq_tup_read as read from pg_stat_xact_user_tables where relname = 'user_provision_state'",
      );
      return Number(rows[0]?.read);
    };
    try {
      await client.query("begin");
      const earlier = await rowsRead();
      expect(await claimDue(client, owner, 1)).toHaveLength(1);
      expect((await rowsRead()) - earlier).toBeLessThan(50);
      await client.query("commit");
    } finally {
      client.release();
    }
  });

  test("takes one at a time of a tenant that is counted nearly full, after the others", async () => {
    const { owner } = await worker();
    for (let n = 0; n < 5; n += 1) await bound({ name: `held${n}`, tenantID: "held" });
    for (let n = 0; n < 3; n += 1) await bound({ name: `free${n}`, tenantID: "free" });
    const claims = await claimDue(pool, owner, 8, new Map([["held", 3]]), 4);
    expect(claims.map((claim) => claim.row.tenantID).toSorted()).toEqual(["free", "free", "free", "held"]);
    expect(await claimDue(pool, owner, 8, new Map([["held", 4]]), 4)).toEqual([]);
  });

  test("never gives one row to two, however many claim at once", async () => {
    const workers = await Promise.all([worker(), worker(), worker(), worker()]);
    for (let n = 0; n < 40; n += 1) await bound({ name: `u${n}`, tenantID: `t${n % 3}` });
    const taken: string[] = [];
    for (let round = 0; round < 10; round += 1) {
      const claims = await Promise.all(workers.map(({ owner }) => claimDue(pool, owner, 3)));
      taken.push(...claims.flat().map((claim) => claim.row.uuid));
    }
    expect(taken).toHaveLength(40);
    expect(new Set(taken).size).toBe(40);
  });

  test("passes by a row that somebody is writing, and does not wait for it", async () => {
    const { owner } = await worker();
    const [busy, free] = [await bound({ name: "busy" }), await bound({ name: "free" })];
    const writer = await pool.connect();
    try {
      await writer.query("begin");
      await writer.query("update user_provision_state set touches = touches + 1 where sme_user_uuid = $1", [busy.uuid]);
      expect((await claimDue(pool, owner, 10)).map((claim) => claim.row.uuid)).toEqual([free.uuid]);
    } finally {
      await writer.query("rollback");
      writer.release();
    }
  });

  test("leaves a living worker its leases, and frees a dead one's at once", async () => {
    const [dying, successor] = await Promise.all([worker(), worker()]);
    const row = await bound();
    await claimOne(dying.owner);
    expect(await claimDue(pool, successor.owner, 1)).toEqual([]);
    await dying.close();
    await expect
      .poll(() => claimDue(pool, successor.owner, 1), { timeout: 5000 })
      .toMatchObject([{ row: { uuid: row.uuid } }]);
  });

  test("takes over a lease that ran out although its worker lives", async () => {
    const [slow, successor] = await Promise.all([worker(), worker()]);
    const row = await bound();
    await claimOne(slow.owner);
    await set(row, { lease_until: new Date(Date.now() - 1000) });
    expect(await claimDue(pool, successor.owner, 1)).toHaveLength(1);
  });

  test("tells a worker that its connection is lost", async () => {
    const session = await worker();
    await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test worker'");
    await expect.poll(() => session.lost.aborted, { timeout: 5000 }).toBe(true);
  });

  test("says how long to sleep", async () => {
    expect(await earliestDueMs(pool)).toBeUndefined();
    await set(await bound(), { due_at: new Date(Date.now() + 10_000) });
    const ms = await earliestDueMs(pool);
    expect(ms).toBeGreaterThan(8_000);
    expect(ms).toBeLessThanOrEqual(10_000);
  });

  test("what a living worker holds is due when its lease ends; what a dead one held is due now", async () => {
    const session = await worker();
    await bound();
    await claimOne(session.owner);
    const ms = (await earliestDueMs(pool)) ?? 0;
    expect(ms).toBeGreaterThan(20_000);
    expect(ms).toBeLessThanOrEqual(30_000);
    await session.close();
    await expect.poll(() => earliestDueMs(pool)).toBeLessThanOrEqual(0);
  });

  test("however many are held, the one that is not counts", async () => {
    const session = await worker();
    const names = Array.from({ length: 120 }, (_, n) => `p${n}`);
    for (const name of names) await bound({ name });
    const claims = await claimDue(pool, session.owner, 200);
    expect(claims).toHaveLength(120);
    expect(await earliestDueMs(pool)).toBeGreaterThan(20_000);
    await set(await bound({ name: "later" }), { due_at: new Date(Date.now() + 5_000) });
    const ms = (await earliestDueMs(pool)) ?? 0;
    expect(ms).toBeGreaterThan(2_000);
    expect(ms).toBeLessThanOrEqual(5_000);
  });

  test("knows the living workers, and misses one as soon as its session ends", async () => {
    const [one, two] = [await worker(), await worker()];
    expect(new Set(await livingWorkers(pool))).toEqual(new Set([one.owner, two.owner]));
    await one.close();
    await expect.poll(() => livingWorkers(pool)).toEqual([two.owner]);
  });
});

describe("recording", () => {
  test("keeps a patch of every kind of field, and empties with null", async () => {
    const { owner } = await worker();
    const row = await bound();
    const patch: RowPatch = {
      state: "kc_created",
      reached: "kc_created",
      keycloakUserID: "kc-1",
      retryCount: 3,
      run: { reason: "create", generation: 1, step: "newapi", attempt: 0, done: false },
      managed: { groups: ["/g"], realmRoles: [], attributes: [], labels: [], annotations: [] },
      secretUID: randomUUID(),
      keyGeneration: 7,
      history: [{ at: "2026-05-01T12:00:00Z", state: "pending", reason: "Progressing" }],
      lastError: {
        step: "keycloak",
        class: "transient",
        code: "UpstreamUnavailable",
        message: "x",
        at: "2026-05-01T12:00:00Z",
      },
    };
    const claim = await claimOne(owner);
    const next = afterRecord(claim, patch, (await record(pool, claim, { ...quiet, patch, lease: "keep" })) as Recorded);
    expect(await again(row)).toMatchObject(patch);
    // What the claim continues with is what stands in the row.
    expect(next.row).toEqual(await again(row));
    await record(pool, next, giving({ run: null, lastError: null, secretUID: null }));
    expect(await again(row)).toMatchObject({
      run: undefined,
      lastError: undefined,
      secretUID: undefined,
      keycloakUserID: "kc-1",
      dueAt: undefined,
    });
  });

  test("voids a row for which nothing was made, and nobody holds it any more", async () => {
    const { owner } = await worker();
    const row = await bound();
    await record(pool, await claimOne(owner), giving({ voided: true, confirmed: false, objectUID: null }));
    expect(await again(row)).toMatchObject({ voided: true, confirmed: false, objectUID: undefined, dueAt: undefined });
    const { rows } = await pool.query(
      "select confirmed_at, voided_at > now() - interval '1 minute' as just from user_provision_state",
    );
    expect(rows).toEqual([{ confirmed_at: null, just: true }]);
  });

  test("one whose row was claimed by another since changes nothing but the audit of what it wrote, and is told", async () => {
    const [late, other] = await Promise.all([worker(), worker()]);
    const row = await bound();
    const stale = await claimOne(late.owner);
    await set(row, { lease_until: new Date(Date.now() - 1000) });
    const fresh = await claimOne(other.owner);
    const event = anEvent(row, "");
    const audit = [{ uuid: row.uuid, tenantID: "acme", step: "keycloak", action: "created", target: "kc-1" }];
    expect(
      await record(pool, stale, { patch: { state: "done" }, lease: "keep", audit, events: [event] }),
    ).toBeUndefined();
    expect(await again(row)).toMatchObject({ state: "pending" });
    expect((await pool.query("select from outbox")).rowCount).toBe(0);
    expect((await pool.query("select from audit")).rowCount).toBe(1);
    expect(await record(pool, fresh, giving({ state: "done" }))).toBeDefined();
  });

  test("also when it is the same worker that claimed again", async () => {
    const { owner } = await worker();
    const row = await bound();
    const stale = await claimOne(owner);
    await set(row, { lease_until: new Date(Date.now() - 1000) });
    await claimOne(owner);
    expect(await record(pool, stale, quiet)).toBeUndefined();
  });

  test("is one round trip, also with what was written outside", async () => {
    const { owner } = await worker();
    const { uuid, tenantID } = await bound();
    const claim = await claimOne(owner);
    await using journal = await statementJournal(database.url);
    const journaled = makePool({ url: journal.url, max: 1, applicationName: "journaled" });
    const audit = [{ id: randomUUID(), uuid, tenantID, step: "keycloak", action: "created", target: "kc-1" }];
    expect(
      await record(journaled, claim, { ...quiet, patch: { reached: "kc_created" }, lease: "keep", audit }),
    ).toBeDefined();
    await journaled.end();
    expect(journal.syncs()).toBe(1);
    const { rows } = await pool.query("select sme_user_uuid, action, target, detail from audit");
    expect(rows).toEqual([{ sme_user_uuid: uuid, action: "created", target: "kc-1", detail: null }]);
  });

  test("a touch during the claim keeps the row due, at once, whatever pause the claim ended with", async () => {
    const { owner } = await worker();
    const row = await bound();
    const claim = await claimOne(owner);
    const kept = (await record(pool, claim, { ...quiet, lease: "keep" })) as Recorded;
    await touchObject(pool, row.objectUID as string);
    const later = new Date(Date.now() + 300_000);
    await record(pool, afterRecord(claim, {}, kept), giving({ backoffUntil: later }, later));
    expect(await again(row)).toMatchObject({ backoffUntil: undefined });
    expect(await claimDue(pool, owner, 1)).toHaveLength(1);
  });

  test("a deletion that is seen during the claim is told to it", async () => {
    const { owner } = await worker();
    const row = await bound();
    const claim = await claimOne(owner);
    await markSeenDeleted(pool, row.objectUID as string, claim.row.clusterID as string, 0);
    const recorded = (await record(pool, claim, { ...quiet, lease: "keep" })) as Recorded;
    expect(recorded).toMatchObject({ version: claim.row.version + 1, deletionPolicy: "Delete" });
    expect(afterRecord(claim, {}, recorded).row.deleting).toEqual((await again(row)).deleting);
    expect(recorded.deleting).toBeDefined();
  });

  test("a request that came during the claim stays the row's, and one that is finished goes", async () => {
    const { owner } = await worker();
    const [first, second] = ["7b1f2c3d-0000-4000-8000-0000000000aa", "7b1f2c3d-0000-4000-8000-0000000000bb"];
    const row = await bound();
    const ask = (requestUID: string) =>
      pool.query("update user_provision_state set cause = $2, due_at = now() where sme_user_uuid = $1", [
        row.uuid,
        { requestUID },
      ]);
    const finish = async (meanwhile?: string) => {
      const claim = await claimOne(owner);
      // Of itself no reason to keep it.
      await touchObject(pool, row.objectUID as string);
      if (meanwhile !== undefined) await ask(meanwhile);
      await record(pool, claim, { patch: { cause: null }, lease: { dueAt: null }, audit: [], events: [] });
      return (await again(row)).cause;
    };
    await ask(first);
    expect(await finish(second)).toEqual({ requestUID: second });
    expect(await finish()).toBeUndefined();
  });

  test("without a touch the pause stands", async () => {
    const { owner } = await worker();
    const row = await bound();
    const later = new Date(Date.now() + 300_000);
    await record(pool, await claimOne(owner), giving({ retryCount: 1, backoffUntil: later, state: "failed" }, later));
    expect(await again(row)).toMatchObject({ backoffUntil: later, dueAt: later, state: "failed", retryCount: 1 });
  });

  test("row, audit and events are one: an event that cannot be kept leaves nothing", async () => {
    const { owner } = await worker();
    const row = await bound();
    const claim = await claimOne(owner);
    const event = { ...anEvent(row, ""), id: "no uuid" };
    await expect(record(pool, claim, { ...giving({ state: "done" }), events: [event] })).rejects.toThrow(/uuid/);
    expect(await again(row)).toMatchObject({ state: "pending" });
  });
});

describe("the uuid of a person", () => {
  test("is derived from tenant and email, and kept whatever comes", async () => {
    const ada = bindRequest();
    const first = rowOf(await bind(pool, ada, nobody));
    expect(first.uuid).toBe(candidateUUID("acme", "ada@example.com"));
    expect(first).toMatchObject({
      confirmed: true,
      clusterID: CLUSTER,
      objectUID: ada.uid,
      namespace: "tenant-a",
      name: "ada",
    });
    expect(first.dueAt).toBeDefined();
    expect(await bind(pool, ada, nobody)).toMatchObject({ kind: "bound", returned: false, row: { uuid: first.uuid } });
  });

  test("is one, however many bind the email at once", async () => {
    const ada = bindRequest();
    const bindings = await Promise.all(Array.from({ length: 8 }, () => bind(pool, ada, nobody)));
    expect(new Set(bindings.map((binding) => rowOf(binding).uuid)).size).toBe(1);
    expect((await pool.query("select from user_provision_state")).rowCount).toBe(1);
  });

  test("of eight objects with one email one gets the row and seven wait", async () => {
    const bindings = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        bind(pool, bindRequest({ name: `ada-${n}`, email: "ada@example.com" }), nobody),
      ),
    );
    expect(bindings.filter((binding) => binding.kind === "bound")).toHaveLength(1);
    expect(bindings.filter((binding) => binding.kind === "waiting")).toHaveLength(7);
    expect(await listWaiting(pool, "acme")).toHaveLength(7);
  });

  test("a living holder of the email makes the new user wait, naming it, and never yields /2", async () => {
    const holder = await bound();
    for (const state of [{}, DONE, { state: "failed" }, { state: "deleting", deleting: deleting(false) }]) {
      await set(holder, state);
      const binding = await bind(pool, bindRequest({ name: "other", email: "ada@example.com" }), nobody);
      expect(binding).toMatchObject({
        kind: "waiting",
        reason: "EmailInUse",
        message: expect.stringContaining("TenantUser ada"),
      });
    }
    expect((await pool.query("select from user_provision_state")).rowCount).toBe(1);
  });

  test("the same email in another tenant is another person", async () => {
    await bound();
    expect((await bound({ tenantID: "umbrella" })).uuid).toBe(candidateUUID("umbrella", "ada@example.com"));
  });

  test("/2 and /3 come only past rows whose email is another by now", async () => {
    const first = await bound();
    await moveEmail(pool, first, "grace@example.com");
    const second = await bound({ name: "ada2", email: "ada@example.com" });
    expect(second.uuid).toBe(candidateUUID("acme", "ada@example.com", 2));
    await moveEmail(pool, second, "joan@example.com");
    expect((await bound({ name: "ada3", email: "ada@example.com" })).uuid).toBe(
      candidateUUID("acme", "ada@example.com", 3),
    );
  });

  test("upstream is asked only for a pin that could be nobody's but its own", async () => {
    const asked: string[] = [];
    const ask = (pin: string) => {
      asked.push(pin);
      return undefined;
    };
    await bind(pool, bindRequest(), ask);
    await bind(pool, bindRequest({ name: "fresh", pin: randomUUID() }), ask);
    expect(asked).toEqual([]);
    const pin = candidateUUID("acme", "before@example.com");
    expect(await bind(pool, bindRequest({ name: "grace", pin }), ask)).toMatchObject({ kind: "refused" });
    expect(asked).toEqual([pin]);
  });

  test("a pin that a user of this tenant carries upstream is the tenant's own, though the database was lost", async () => {
    const pin = candidateUUID("acme", "before@example.com");
    expect(rowOf(await bind(pool, bindRequest({ pin }), (asked) => asked)).uuid).toBe(pin);
  });

  describe("that is pinned", () => {
    test("may be a fresh version-4 one", async () => {
      const pin = randomUUID();
      expect((await bound({ pin })).uuid).toBe(pin);
    });

    test("may be the one it would get anyway", async () => {
      const pin = candidateUUID("acme", "ada@example.com");
      expect((await bound({ pin })).uuid).toBe(pin);
    });

    test("on an old address makes a new person", async () => {
      const old = await set(await bound(), { state: "deleted", object_uid: null });
      const pin = randomUUID();
      expect((await bound({ pin })).uuid).toBe(pin);
      expect(await again(old)).toMatchObject({ state: "deleted" });
    });

    test("may be one that this tenant owned before, under another address", async () => {
      const old = await set(await bound(), { ...DONE, state: "retained", object_uid: null });
      const row = await bound({ name: "grace", pin: old.uuid });
      expect(row).toMatchObject({ uuid: old.uuid, email: "grace@example.com", keycloakUserID: "kc-1" });
    });

    test.each([
      ["retained", { ...DONE, state: "retained", object_uid: null }],
      ["orphaned", { ...DONE, state: "orphaned" }],
      ["in its grace", { ...DONE, state: "deleting", deleting: deleting(true, ["secret"]) }],
    ])("passes one that is %s to another person without what opened it", async (_what, columns) => {
      const old = await set(await bound(), { ...columns, invited_kc_user_id: "kc-1", key_generation: 3 });
      const row = await bound({ name: "grace", pin: old.uuid });
      expect(row).toMatchObject({ uuid: old.uuid, email: "grace@example.com", keycloakUserID: "kc-1" });
      expect(row).toMatchObject({ toReset: ["keycloak", "newapi"], rotation: { toGeneration: 3 } });
      expect(row.invitedKeycloakUserID).toBeUndefined();
      // Whoever goes before it was done, and comes back, still has another person's accounts.
      await set(row, { state: "deleting", deleting: deleting(true, ["secret"]), rotation: null });
      expect(await bound({ name: "grace-again", email: "grace@example.com" })).toMatchObject({
        uuid: old.uuid,
        toReset: ["keycloak", "newapi"],
      });
    });

    test("keeps what opens the accounts of one who comes back under the same email", async () => {
      const old = await set(await bound(), {
        ...DONE,
        state: "retained",
        object_uid: null,
        invited_kc_user_id: "kc-1",
      });
      const row = await bound({ pin: old.uuid });
      expect(row).toMatchObject({ uuid: old.uuid, invitedKeycloakUserID: "kc-1" });
      expect([row.toReset, row.rotation]).toEqual([undefined, undefined]);
    });

    test("is not one of an adopted account for another email, which that account never gets", async () => {
      const old = await set(await bound(), { ...DONE, state: "retained", object_uid: null, adopted: true });
      expect(await bind(pool, bindRequest({ name: "grace", pin: old.uuid }), nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
    });

    test.each([
      ["living", {}],
      ["deleted", { state: "deleted", object_uid: null }],
    ])("is never another tenant's %s one", async (_what, columns) => {
      const theirs = await set(await bound({ tenantID: "umbrella" }), columns);
      expect(await bind(pool, bindRequest({ pin: theirs.uuid }), nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
      expect(await again(theirs)).toMatchObject({ tenantID: "umbrella" });
    });

    test("is not another tenant's before that one exists either: it would take its place", async () => {
      const pin = candidateUUID("umbrella", "ada@example.com");
      expect(await bind(pool, bindRequest({ pin }), nobody)).toMatchObject({ kind: "refused", reason: "UUIDNotYours" });
      expect((await bound({ tenantID: "umbrella" })).uuid).toBe(pin);
    });

    test("is not a colleague's", async () => {
      const colleague = await bound({ name: "grace" });
      expect(await bind(pool, bindRequest({ pin: colleague.uuid }), nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
    });

    test("cannot be added to one who has another", async () => {
      const ada = bindRequest();
      await bind(pool, ada, nobody);
      expect(await bind(pool, { ...ada, pin: randomUUID() }, nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
    });
  });

  test("an orphan whose object wants another email by now gets that as any other, and not before its holder gives it up", async () => {
    const ada = bindRequest();
    const orphan = await set(rowOf(await bind(pool, ada, nobody)), { ...DONE, state: "orphaned" });
    const grace = await bound({ name: "grace" });
    const row = rowOf(await bind(pool, { ...ada, email: grace.email }, nobody));
    expect(row).toMatchObject({ uuid: orphan.uuid, email: "ada@example.com", state: "done" });
    expect(await moveEmail(pool, row, grace.email)).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
  });

  describe("that comes back", () => {
    test.each([
      ["retained", { ...DONE, state: "retained", object_uid: null }],
      ["an orphan", { ...DONE, state: "orphaned" }],
      ["a cleanup", { ...DONE, state: "deleting", deleting: deleting(true, ["secret"]) }],
    ])("%s: is the same person with the same ids", async (_what, columns) => {
      const old = await set(await bound(), columns);
      const newUser = bindRequest({ name: "ada-again", email: "ada@example.com" });
      const binding = await bind(pool, newUser, nobody);
      expect(binding).toMatchObject({
        kind: "bound",
        returned: true,
        row: {
          uuid: old.uuid,
          objectUID: newUser.uid,
          name: "ada-again",
          keycloakUserID: "kc-1",
          newapiUserID: "na-1",
          reached: "done",
          state: "done",
          deleting: undefined,
          handled: undefined,
          rotation: undefined,
          run: { reason: "recovered", step: "keycloak", generation: -1 },
        },
      });
    });

    test("deleted: is the same uuid, a new Keycloak user, and another key than the one given up", async () => {
      const old = await set(await bound(), {
        ...DONE,
        state: "deleted",
        reached: "pending",
        key_generation: 4,
        object_uid: null,
        adopted: true,
      });
      expect(await bound()).toMatchObject({
        uuid: old.uuid,
        state: "pending",
        keycloakUserID: undefined,
        newapiUserID: "na-1",
        adopted: false,
        rotation: { toGeneration: 4 },
      });
    });

    test("a cleanup whose Keycloak user is gone already: makes a new one", async () => {
      await set(await bound(), {
        ...DONE,
        state: "deleting",
        deleting: deleting(true, ["secret", "newapi", "keycloak"]),
      });
      expect(await bound()).toMatchObject({ state: "pending", reached: "pending", keycloakUserID: undefined });
    });

    test("the accounts that still live are preferred to those that are gone", async () => {
      const gone = await set(await bound(), { state: "deleted", object_uid: null });
      const kept = await set(await bound({ name: "x" }), {
        email: "ada@example.com",
        state: "retained",
        object_uid: null,
      });
      const row = await bound({ name: "new", email: "ada@example.com" });
      expect(row.uuid).toBe(kept.uuid);
      expect(row.uuid).not.toBe(gone.uuid);
    });

    test("an orphan under the very uid it had", async () => {
      const ada = bindRequest();
      const old = rowOf(await bind(pool, ada, nobody));
      await set(old, { ...DONE, state: "orphaned" });
      expect(rowOf(await bind(pool, ada, nobody))).toMatchObject({ uuid: old.uuid, state: "done" });
    });
  });

  describe("that admission proposed", () => {
    const propose = (of: BindRequest, uuid: string, email = of.email) =>
      recordCandidates(pool, [
        {
          uuid,
          tenantID: of.tenantID,
          email,
          objectUID: of.uid,
          namespace: of.namespace,
          name: of.name,
          isNew: true,
          maxUsers: undefined,
        },
      ]);

    test("is confirmed by the same object", async () => {
      const ada = bindRequest();
      const uuid = candidateUUID("acme", ada.email);
      await propose(ada, uuid);
      expect(await loadSaga(pool, uuid)).toMatchObject({ confirmed: false, dueAt: undefined });
      expect(rowOf(await bind(pool, ada, nobody))).toMatchObject({
        uuid,
        confirmed: true,
        state: "pending",
        run: undefined,
      });
    });

    test("holds nothing: another object takes it, also after it was voided", async () => {
      const never = bindRequest({ name: "never", email: "ada@example.com" });
      const uuid = candidateUUID("acme", "ada@example.com");
      await propose(never, uuid);
      await pool.query("update user_provision_state set voided_at = now()");
      const ada = bindRequest();
      expect(rowOf(await bind(pool, ada, nobody))).toMatchObject({
        uuid,
        objectUID: ada.uid,
        voided: false,
        confirmed: true,
      });
    });

    test("is voided when the object gets another one", async () => {
      const ada = bindRequest();
      const proposed = randomUUID();
      await propose(ada, proposed);
      expect(rowOf(await bind(pool, ada, nobody)).uuid).not.toBe(proposed);
      expect(await loadSaga(pool, proposed)).toMatchObject({ voided: true, confirmed: false });
    });

    test("is voided two minutes after nobody saw its object, not before", async () => {
      await propose(bindRequest(), candidateUUID("acme", "ada@example.com"));
      await bound({ name: "seen" });
      expect(await voidUnconfirmed(pool)).toBe(0);
      await pool.query("update user_provision_state set created_at = now() - interval '121 seconds'");
      expect(await voidUnconfirmed(pool)).toBe(1);
      expect(await loadSaga(pool, candidateUUID("acme", "seen@example.com"))).toMatchObject({ voided: false });
    });

    test("is voided when its object goes", async () => {
      const ada = bindRequest();
      await propose(ada, candidateUUID("acme", ada.email));
      await forgetBindRequest(pool, ada.uid);
      expect(await loadSaga(pool, candidateUUID("acme", ada.email))).toMatchObject({ voided: true });
    });
  });
});

describe("the quota", () => {
  const inGrace = JSON.stringify({ ...JSON.parse(deleting(true)), purgeAt: "2999-01-01T00:00:00.000Z" });
  const newUser = () => ({
    ...bindRequest({ name: "new-user", maxUsers: 1 }),
    uuid: randomUUID(),
    objectUID: randomUUID(),
    isNew: true,
  });

  const at = (minute: number) => new Date(Date.UTC(2026, 4, 1, 10, minute));

  test("lets so many live, the others wait, and the oldest comes first", async () => {
    const first = await bound({ name: "a", maxUsers: 1, createdAt: at(0) });
    const young = bindRequest({ name: "young", maxUsers: 1, createdAt: at(9) });
    const old = bindRequest({ name: "old", maxUsers: 1, createdAt: at(5) });
    expect(await bind(pool, young, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect(await bind(pool, old, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect((await listWaiting(pool, "acme")).map((each) => each.name)).toEqual(["old", "young"]);
    await set(first, { state: "deleted", object_uid: null });
    expect(await bind(pool, young, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect(await bind(pool, old, nobody)).toMatchObject({ kind: "bound" });
    expect(await listWaiting(pool, "acme")).toMatchObject([{ name: "young" }]);
  });

  test("does not count accounts that are locked or undone, nor candidates", async () => {
    for (const [name, columns] of Object.entries({
      grace: { state: "deleting", deleting: inGrace },
      cleanup: { state: "deleting", deleting: deleting(true) },
      gone: { state: "deleted", object_uid: null },
      candidate: { confirmed_at: null },
    })) {
      await set(await bound({ name }), columns);
    }
    expect(await recordCandidates(pool, [newUser()])).toMatchObject([{ full: false }]);
    expect(await bind(pool, bindRequest({ maxUsers: 1 }), nobody)).toMatchObject({ kind: "bound" });
  });

  test.each([
    ["retained", { ...DONE, state: "retained", object_uid: null }],
    ["orphaned", { ...DONE, state: "orphaned" }],
    ["failed", { state: "failed" }],
  ])(
    "counts accounts that are alive though %s: their tenant cannot have others beside them",
    async (_what, columns) => {
      const old = await set(await bound({ name: "before", maxUsers: 1 }), columns);
      const another = bindRequest({ name: "another", maxUsers: 1 });
      expect(await recordCandidates(pool, [newUser()])).toMatchObject([{ full: true }]);
      expect(await bind(pool, another, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
      if (columns.state === "failed") return;
      // Whoever comes back takes no second place, nor does the one who gets the uuid by a pin.
      const back = bindRequest({ name: "again", email: "before@example.com", maxUsers: 1 });
      expect(await bind(pool, back, nobody)).toMatchObject({ kind: "bound", row: { uuid: old.uuid } });
      await set(old, { ...DONE, state: "retained", object_uid: null });
      const pinned = bindRequest({ name: "pinned", pin: old.uuid, maxUsers: 1 });
      expect(await bind(pool, pinned, nobody)).toMatchObject({ kind: "bound", row: { uuid: old.uuid } });
      expect(await bind(pool, another, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
      await set(old, { state: "deleted", object_uid: null });
      expect(await bind(pool, another, nobody)).toMatchObject({ kind: "bound" });
    },
  );

  test("holds when many come at once", async () => {
    const bindings = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        bind(pool, bindRequest({ name: `u${n}`, maxUsers: 3, createdAt: at(n) }), nobody),
      ),
    );
    expect(bindings.filter((binding) => binding.kind === "bound").length).toBeLessThanOrEqual(3);
    expect((await pool.query("select from user_provision_state")).rowCount).toBeLessThanOrEqual(3);
  });
});

describe("an email that changes", () => {
  test("moves with the person: same uuid, same ids", async () => {
    const row = await set(await bound(), DONE);
    expect(rowOf(await moveEmail(pool, row, "grace@example.com"))).toMatchObject({
      uuid: row.uuid,
      email: "grace@example.com",
      keycloakUserID: "kc-1",
    });
  });

  test("waits while another living one holds it, and follows when that one is gone", async () => {
    const ada = await bound();
    const grace = await bound({ name: "grace" });
    expect(await moveEmail(pool, ada, "grace@example.com")).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
    expect(await listWaiting(pool, "acme")).toMatchObject([{ uid: ada.objectUID }]);
    expect(await firstPendingUser(pool, "acme", "grace@example.com")).toBeUndefined();
    await set(grace, { state: "deleted" });
    expect(await moveEmail(pool, ada, "grace@example.com")).toMatchObject({ kind: "bound" });
    expect(await listWaiting(pool, "acme")).toEqual([]);
  });

  test("two that want each other's are refused, naming both", async () => {
    const ada = await bound();
    const grace = await bound({ name: "grace" });
    await moveEmail(pool, ada, "grace@example.com");
    expect(await moveEmail(pool, grace, "ada@example.com")).toMatchObject({
      kind: "refused",
      reason: "EmailCycle",
      message: expect.stringMatching(/grace.*ada|ada.*grace/),
    });
    expect(await again(ada)).toMatchObject({ email: "ada@example.com" });
    expect(await again(grace)).toMatchObject({ email: "grace@example.com" });
  });

  test("that makes a cycle wakes the other end, once, and it is told the same", async () => {
    const ada = await set(await bound(), { due_at: null });
    const grace = await bound({ name: "grace" });
    await moveEmail(pool, ada, "grace@example.com");
    await moveEmail(pool, grace, "ada@example.com");
    const woken = await again(ada);
    expect(woken).toMatchObject({ touches: ada.touches + 1, dueAt: expect.any(Date) });
    expect(await moveEmail(pool, woken, "grace@example.com")).toMatchObject({ kind: "refused", reason: "EmailCycle" });
    expect((await again(grace)).touches).toBe(grace.touches);
  });

  /** Three who each want the next one's: all but the last only wait. */
  async function ring() {
    const [ada, grace, joan] = [await bound(), await bound({ name: "grace" }), await bound({ name: "joan" })];
    await moveEmail(pool, ada, "grace@example.com");
    await moveEmail(pool, grace, "joan@example.com");
    const closed = await moveEmail(pool, joan, "ada@example.com");
    return { ada, grace, joan, closed };
  }
  const told = {
    kind: "refused",
    reason: "EmailCycle",
    message: "ada, grace and joan want each other's emails, in a ring; give one of them a third address first.",
  };

  test("three in a ring are all told, with the same words", async () => {
    const { ada, grace, joan, closed } = await ring();
    expect(closed).toEqual(told);
    for (const [row, wanted] of [
      [ada, "grace@example.com"],
      [grace, "joan@example.com"],
    ] as const) {
      expect((await again(row)).touches).toBe(row.touches + 1);
      expect(await moveEmail(pool, await again(row), wanted)).toEqual(told);
    }
    expect((await again(joan)).touches).toBe(joan.touches);
  });

  test("who stands before a ring, and not in it, only waits", async () => {
    await ring();
    const mary = await bound({ name: "mary" });
    expect(await moveEmail(pool, mary, "ada@example.com")).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
  });

  test("a ring that one leaves for a third address dissolves one after the other", async () => {
    const { ada, grace, joan } = await ring();
    expect(await moveEmail(pool, await again(joan), "third@example.com")).toMatchObject({ kind: "bound" });
    expect(await moveEmail(pool, await again(ada), "grace@example.com")).toMatchObject({ kind: "waiting" });
    expect(await moveEmail(pool, await again(grace), "joan@example.com")).toMatchObject({ kind: "bound" });
    expect(await moveEmail(pool, await again(ada), "grace@example.com")).toMatchObject({ kind: "bound" });
  });

  test("a ring that one leaves to wait elsewhere, or to stay as he is, wakes the others", async () => {
    const { ada, grace, joan } = await ring();
    await bound({ name: "mary" });
    const before = await again(grace);
    expect(await moveEmail(pool, await again(joan), "mary@example.com")).toMatchObject({ kind: "waiting" });
    expect((await again(grace)).touches).toBe(before.touches + 1);
    expect(await moveEmail(pool, await again(grace), "joan@example.com")).toMatchObject({ kind: "waiting" });

    await moveEmail(pool, await again(joan), "ada@example.com");
    const { owner } = await worker();
    await pool.query("update user_provision_state set due_at = null where object_name <> 'joan'");
    const { touches } = await again(ada);
    const claim = await claimOne(owner);
    await record(pool, claim, { ...giving({ state: "done" }), events: [anEvent(joan, "x")] });
    expect((await again(ada)).touches).toBe(touches + 1);
    expect(await moveEmail(pool, await again(ada), "grace@example.com")).toMatchObject({ kind: "waiting" });
  });

  test("is not moved by one who has lost the row", async () => {
    const { owner } = await worker();
    const row = await bound();
    await claimOne(owner);
    expect(await moveEmail(pool, row, "grace@example.com")).toBeUndefined();
    expect(await again(row)).toMatchObject({ email: "ada@example.com" });
  });
});

describe("taking over the uuid that the account carries", () => {
  const carried = candidateUUID("acme", "before@example.com");

  test("the row continues under it, with nothing else changed", async () => {
    const { owner } = await worker();
    const row = await bound();
    expect(await takeOver(pool, await claimOne(owner), carried)).toBe(true);
    expect(await loadSaga(pool, row.uuid)).toBeUndefined();
    expect(await loadSaga(pool, carried)).toMatchObject({
      objectUID: row.objectUID,
      email: row.email,
      confirmed: true,
      // Not new: somebody was here before under this uuid.
      run: { step: "keycloak" },
    });
    expect(await claimDue(pool, owner, 1)).toHaveLength(1);
  });

  test("takes the place of a row that was never seen, or has ended", async () => {
    const { owner } = await worker();
    const ended = await set(await bound({ name: "before" }), { state: "deleted", object_uid: null, due_at: null });
    const row = await bound();
    await set(ended, { email: row.email });
    expect(await takeOver(pool, await claimOne(owner), ended.uuid)).toBe(true);
    expect(await again(ended)).toMatchObject({ objectUID: row.objectUID, email: row.email, state: "pending" });
    expect(await again(row)).toMatchObject({ objectUID: undefined, confirmed: false, voided: true, dueAt: undefined });
    expect(await claimDue(pool, owner, 9)).toHaveLength(1);
  });

  test("loses nothing that a row of that uuid knows, and says in the audit where the person came from", async () => {
    const { owner } = await worker();
    const managed = { groups: ["/g"], realmRoles: [], attributes: [], labels: [], annotations: [] };
    const retained = await set(await bound({ name: "before" }), {
      ...DONE,
      state: "retained",
      object_uid: null,
      due_at: null,
      adopted: true,
      managed: JSON.stringify(managed),
      key_generation: 4,
      invited_kc_user_id: "kc-1",
      secret_namespace: "tenant-a",
      secret_name: "s",
      secret_uid: randomUUID(),
    });
    const row = await bound();
    await set(retained, { email: row.email });
    expect(await takeOver(pool, await claimOne(owner), retained.uuid)).toBe(true);
    expect(await again(retained)).toMatchObject({
      objectUID: row.objectUID,
      adopted: true,
      managed,
      keyGeneration: 4,
      invitedKeycloakUserID: "kc-1",
      keycloakUserID: "kc-1",
      newapiUserID: "na-1",
      secretUID: retained.secretUID,
      createdAt: retained.createdAt,
    });
    const { rows } = await pool.query("select sme_user_uuid, action, detail from audit");
    expect(rows).toEqual([{ sme_user_uuid: retained.uuid, action: "taken-over", detail: { from: row.uuid } }]);
  });

  test.each([
    ["a living colleague's", {}, {}],
    ["another tenant's", { tenantID: "umbrella" }, {}],
    ["another tenant's deleted one", { tenantID: "umbrella" }, { state: "deleted" }],
  ])("is not %s", async (_whose, given, columns) => {
    const { owner } = await worker();
    const theirs = await set(await bound({ name: "grace", ...given }), { due_at: null, ...columns });
    const row = await bound();
    expect(await takeOver(pool, await claimOne(owner), theirs.uuid)).toBe(false);
    expect(await again(theirs)).toMatchObject({ objectUID: theirs.objectUID });
    expect(await again(row)).toMatchObject({ objectUID: row.objectUID });
  });

  const inGrace = JSON.stringify({
    since: "2026-05-01T12:00:00.000Z",
    objectUID: randomUUID(),
    undone: [],
    locked: ["secret", "newapi", "keycloak"],
    released: true,
    purgeAt: "2999-01-01T00:00:00.000Z",
  });

  test.each([
    ["in grace", { ...DONE, state: "deleting", deleting: inGrace }],
    ["of whom undoing is pending", { ...DONE, state: "deleting", deleting: deleting(true, ["secret"]) }],
    ["retained", { ...DONE, state: "retained", object_uid: null }],
    ["orphaned", { ...DONE, state: "orphaned" }],
    ["deleted", { state: "deleted", object_uid: null }],
  ])("is not the one of somebody %s whom this database knows under another email", async (_what, columns) => {
    const { owner } = await worker();
    const theirs = await set(await bound({ name: "mallory" }), { ...columns, due_at: null });
    const row = await bound();
    expect(await takeOver(pool, await claimOne(owner), theirs.uuid)).toBe(false);
    expect(await again(theirs)).toEqual(theirs);
    expect(await again(row)).toMatchObject({ objectUID: row.objectUID, confirmed: true });
  });

  test("is fenced, never for one who has accounts, and undone as a whole", async () => {
    const { owner } = await worker();
    const ended = await set(await bound({ name: "before" }), { state: "deleted", object_uid: null, due_at: null });
    const row = await bound();
    const claim = await claimOne(owner);
    const stale = { ...claim, row: { ...claim.row, version: claim.row.version - 1 } };
    expect(await takeOver(pool, stale, ended.uuid)).toBe(false);
    await set(row, { kc_user_id: "kc-1" });
    expect(await takeOver(pool, claim, ended.uuid)).toBe(false);
    expect(await again(ended)).toMatchObject({ state: "deleted" });
  });
});

describe("a uuid that comes from a tenant's own id and address", () => {
  const own = candidateUUID("acme", "ada@example.com");
  /** Their Keycloak says that somebody of theirs carries it. */
  const squatted = (email: string, columns: Parameters<typeof set>[1] = {}) =>
    bind(
      pool,
      bindRequest({ tenantID: "umbrella", namespace: "tenant-u", name: "mallory", email, pin: own }),
      (pin) => pin,
    ).then((binding) => set(rowOf(binding), columns));

  test.each([
    ["lives", "mallory@example.com", {}],
    [
      "was retained under the same address",
      "ada@example.com",
      { ...DONE, state: "retained", object_uid: null, due_at: null },
    ],
    [
      "is in grace under the same address",
      "ada@example.com",
      { ...DONE, state: "deleting", deleting: deleting(true, []), due_at: null },
    ],
  ])("is that tenant's, also where somebody of another tenant %s who claims it", async (_what, email, columns) => {
    const theirs = await squatted(email, columns);
    expect(theirs).toMatchObject({ uuid: own, tenantID: "umbrella" });
    const row = await bound();
    expect(row).toMatchObject({
      uuid: own,
      tenantID: "acme",
      secretNamespace: undefined,
      newapiUserID: undefined,
      run: undefined,
    });
    const { rows } = await pool.query(
      "select sme_user_uuid, object_uid, kc_user_id from user_provision_state where sme_tenant_id = 'umbrella'",
    );
    expect(rows).toEqual([
      {
        sme_user_uuid: expect.not.stringContaining(own) as string,
        object_uid: theirs.objectUID ?? null,
        kc_user_id: null,
      },
    ]);
  });

  test("can be pinned by that tenant, and taken over after a lost database", async () => {
    await squatted("mallory@example.com");
    expect(await bound({ pin: own })).toMatchObject({ uuid: own, tenantID: "acme" });
    await pool.query("truncate user_provision_state, waiting");
    const { owner } = await worker();
    await set(await squatted("mallory@example.com"), { due_at: null });
    const row = await bound({ pin: randomUUID() });
    expect(await takeOver(pool, await claimOne(owner), own)).toBe(true);
    expect(await loadSaga(pool, own)).toMatchObject({ tenantID: "acme", objectUID: row.objectUID });
  });
});

describe("a place that somebody gives up who is still going", () => {
  const grace = { name: "grace", email: "grace@example.com" };
  /** Ada goes, and an upstream holds it up. */
  async function going(columns: Parameters<typeof set>[1] = {}) {
    return set(await bound({ maxUsers: 1 }), {
      ...DONE,
      state: "deleting",
      deleting: deleting(false, ["secret"]),
      due_at: null,
      ...columns,
    });
  }
  const successor = () => bindRequest({ name: "ada-new", email: "ada@example.com", maxUsers: 1 });
  const other = () => bindRequest({ ...grace, maxUsers: 1 });

  test("is not taken twice: whoever comes for the leaver's account after another took the place waits for one", async () => {
    await going();
    expect(await bind(pool, other(), nobody)).toMatchObject({ kind: "bound" });
    expect(await bind(pool, successor(), nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toBeUndefined();
  });

  test("is kept for one who waits for the leaver's account, whatever comes meanwhile", async () => {
    const ada = await bound({ maxUsers: 1 });
    const next = successor();
    expect(await bind(pool, next, nobody)).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
    await set(ada, { ...DONE, state: "deleting", deleting: deleting(false, ["secret"]), due_at: null });
    expect(await bind(pool, other(), nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    // Looked at again, also behind those who wait for a place.
    expect(await bind(pool, next, nobody)).toMatchObject({ kind: "waiting", reason: "EmailInUse" });
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toMatchObject({ uid: next.uid });
    await set(ada, { deleting: deleting(true, ["secret"]), created_at: new Date(0) });
    await pool.query("delete from waiting where why = 'QuotaFull'");
    expect(await bind(pool, next, nobody)).toMatchObject({ kind: "bound", row: { uuid: ada.uuid } });
  });

  test("is not kept by one who lives already and wants to move to that address", async () => {
    await going();
    const grown = await bound({ ...grace });
    expect(await moveEmail(pool, grown, "ada@example.com")).toMatchObject({ kind: "waiting" });
    expect(await bind(pool, successor(), nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
  });

  test("is none while the account is to stay", async () => {
    await going({ deletion_policy: "Retain" });
    expect(await bind(pool, other(), nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
  });
});

describe("handing over", () => {
  async function goingWithWaiter() {
    const { owner } = await worker();
    const holder = await set(await bound(), {
      ...DONE,
      state: "deleting",
      deleting: deleting(false, ["secret"]),
      due_at: new Date(0),
    });
    const successor = bindRequest({ name: "ada-new", email: "ada@example.com", namespace: "tenant-b" });
    await bind(pool, successor, nobody);
    return { owner, holder, successor };
  }

  test("gives the saga to the pending user: same uuid, ids and key", async () => {
    const { owner, holder, successor } = await goingWithWaiter();
    const to = await firstPendingUser(pool, "acme", "ada@example.com");
    expect(to).toMatchObject({ uid: successor.uid, namespace: "tenant-b", name: "ada-new" });
    expect(await handOver(pool, await claimOne(owner), to as NonNullable<typeof to>)).toBe(true);
    expect(await again(holder)).toMatchObject({
      objectUID: successor.uid,
      namespace: "tenant-b",
      name: "ada-new",
      state: "done",
      deleting: undefined,
      keycloakUserID: "kc-1",
      newapiUserID: "na-1",
      run: { reason: "handover" },
    });
    // The object that went is still to be released; it is nobody's successor.
    expect(await listWaiting(pool, "acme")).toMatchObject([{ uid: holder.objectUID }]);
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toBeUndefined();
    expect(await claimDue(pool, owner, 1)).toHaveLength(1);
  });

  test("makes a new Keycloak user when the old one is gone already", async () => {
    const { owner, holder } = await goingWithWaiter();
    await set(holder, { deleting: deleting(false, ["secret", "newapi", "keycloak"]) });
    const to = await firstPendingUser(pool, "acme", "ada@example.com");
    await handOver(pool, await claimOne(owner), to as NonNullable<typeof to>);
    expect(await again(holder)).toMatchObject({ state: "pending", reached: "pending", keycloakUserID: undefined });
  });

  test("is fenced, and the pending user continues waiting when the lease is lost", async () => {
    const { owner, holder, successor } = await goingWithWaiter();
    const stale = await claimOne(owner);
    await set(holder, { lease_until: new Date(0) });
    await claimOne(owner);
    const to = await firstPendingUser(pool, "acme", "ada@example.com");
    expect(await handOver(pool, stale, to as NonNullable<typeof to>)).toBe(false);
    expect(await again(holder)).toMatchObject({ objectUID: holder.objectUID });
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toMatchObject({ uid: successor.uid });
  });

  test("goes to the oldest, then to the lowest uid", async () => {
    await bound();
    const wait = (uid: string, minute: number) =>
      bind(
        pool,
        bindRequest({
          uid,
          name: uid.slice(0, 8),
          email: "ada@example.com",
          createdAt: new Date(Date.UTC(2026, 4, 1, 10, minute)),
        }),
        nobody,
      );
    await wait("cccccccc-0000-4000-8000-000000000000", 5);
    await wait("bbbbbbbb-0000-4000-8000-000000000000", 5);
    await wait("aaaaaaaa-0000-4000-8000-000000000000", 9);
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toMatchObject({ name: "bbbbbbbb" });
    expect(await firstPendingUser(pool, "umbrella", "ada@example.com")).toBeUndefined();
  });

  test("an object in a namespace without a Tenant waits for nobody's email", async () => {
    const uid = randomUUID();
    await waitForTenant(pool, { uid, namespace: "wild", name: "ada", createdAt: new Date(), email: "ada@example.com" });
    expect(await firstPendingUser(pool, "acme", "ada@example.com")).toBeUndefined();
    expect(await listWaiting(pool, "acme")).toMatchObject([{ uid }]);
    expect(await listWaiting(pool, undefined)).toMatchObject([{ uid }]);
  });
});

describe("what the watch saw", () => {
  const observed = (row: SagaRow, given: Partial<ObservedObject> = {}): ObservedObject => ({
    uid: row.objectUID as string,
    namespace: "tenant-a",
    name: "ada",
    generation: 1,
    deleting: false,
    requestedAt: undefined,
    rotateRequestedAt: undefined,
    ...given,
  });
  const rested = (name = "ada", columns: Record<string, unknown> = {}) =>
    bound({ name }).then((row) => set(row, { ...DONE, handled: handled(), ...columns }));

  test("a touch makes the row due now, whatever it waited for", async () => {
    const row = await rested("ada", { backoff_until: new Date(Date.now() + 60_000) });
    expect(await touchObject(pool, row.objectUID as string)).toBe(true);
    const touched = await again(row);
    expect(touched).toMatchObject({ backoffUntil: undefined, touches: row.touches + 1 });
    expect(touched.dueAt).toBeDefined();
    expect(await touchObject(pool, randomUUID())).toBe(false);
  });

  test("a list touches nobody for whom nothing has moved", async () => {
    const row = await rested();
    const orphaned = await rested("orphan", { state: "orphaned" });
    const outcome = await compareList(pool, CLUSTER, [observed(row), observed(orphaned)]);
    expect(outcome.unbound).toMatchObject([{ uid: orphaned.objectUID }]);
    expect(outcome.missing).toEqual([]);
    expect((await again(row)).dueAt).toBeUndefined();
  });

  test.each([
    ["a newer generation", { generation: 2 }],
    ["a request", { requestedAt: "t1" }],
    ["a rotation", { rotateRequestedAt: "t1" }],
    ["a deletion", { deleting: true }],
  ])("%s that nobody watched makes the row due", async (_what, given) => {
    const row = await rested();
    await compareList(pool, CLUSTER, [observed(row, given)]);
    expect((await again(row)).dueAt).toBeDefined();
  });

  test("a blocked row is due only when something could lift its block", async () => {
    const row = await rested("ada", { state: "failed", blocked_on: "3|r1||" });
    await compareList(pool, CLUSTER, [observed(row, { generation: 3 })]);
    expect((await again(row)).dueAt).toBeUndefined();
    await compareList(pool, CLUSTER, [observed(row, { generation: 3, requestedAt: "t1" })]);
    expect((await again(row)).dueAt).toBeDefined();
  });

  test("names objects without a row and rows without an object, of this cluster only", async () => {
    const there = await rested();
    const missing = await rested("missing");
    await rested("gone", { state: "deleted" });
    await rested("going", { state: "deleting", deleting: deleting(false) });
    await rested("elsewhere", { cluster_id: "another" });
    const unbound = observed(there, { uid: randomUUID() });
    const outcome = await compareList(pool, CLUSTER, [observed(there), unbound]);
    expect(outcome.unbound).toEqual([unbound]);
    expect(outcome.missing.map((row) => row.uuid)).toEqual([missing.uuid]);
    expect(await again(missing)).toMatchObject({ state: "done" });
  });

  test("an empty list is no deletion of everybody", async () => {
    const row = await rested();
    const { missing } = await compareList(pool, CLUSTER, []);
    expect(missing).toHaveLength(1);
    expect(await again(row)).toMatchObject({ state: "done", deleting: undefined });
  });

  test("rows of another cluster become orphans, those that have ended stay what they are", async () => {
    const theirs = await rested("theirs", { cluster_id: "another" });
    const gone = await rested("gone", { cluster_id: "another", state: "deleted" });
    const kept = await rested("kept", { cluster_id: "another", state: "retained" });
    const ours = await rested();
    const going = await rested("going", { state: "deleting", deleting: deleting(false) });
    expect(await orphanForeignRows(pool, CLUSTER)).toBe(1);
    expect(await again(theirs)).toMatchObject({ state: "orphaned" });
    const others = await Promise.all([gone, kept, ours, going].map(again));
    expect(others.map(({ state }) => state)).toEqual(["deleted", "retained", "done", "deleting"]);
    expect(await orphanForeignRows(pool, CLUSTER)).toBe(0);
  });

  test.each([
    ["begun", deleting(false)],
    ["with the Secret undone", deleting(false, ["secret"])],
    ["as a pending cleanup", deleting(true, ["secret"])],
    ["within its grace", graced],
  ])("a deletion that its cluster's loss stopped (%s) is an orphan, whose address is free", async (_what, columns) => {
    const going = await rested("going", { cluster_id: "another", state: "deleting", deleting: columns });
    const due = await set(going, { due_at: new Date() });
    expect(await orphanForeignRows(pool, CLUSTER)).toBe(1);
    expect(await again(going)).toMatchObject({ state: "orphaned", dueAt: undefined, deleting: due.deleting });
    expect(await ownerlessSagas(pool, undefined, 10)).toMatchObject([{ uuid: going.uuid }]);
    const back = await bound({ name: "back", email: going.email });
    expect(back).toMatchObject({ uuid: going.uuid, state: "done", clusterID: CLUSTER, deleting: undefined });
  });

  test("a deletion that was seen of an object nobody held is undone, with its grace", async () => {
    const row = await rested();
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 3_600_000)).toEqual({
      uuid: row.uuid,
      tenantID: row.tenantID,
      email: row.email,
    });
    const marked = await again(row);
    expect(marked).toMatchObject({
      state: "deleting",
      deleting: { objectUID: row.objectUID, released: true, undone: [] },
    });
    const { since, purgeAt } = marked.deleting as NonNullable<SagaRow["deleting"]>;
    expect(new Date(purgeAt as string).getTime() - new Date(since).getTime()).toBe(3_600_000);
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 0)).toBeUndefined();
  });

  test("one whose accounts were to stay, which its Tenant does not allow, is locked for as long as that takes", async () => {
    const row = await set(await rested(), { deletion_policy: "Retain" });
    await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 3_600_000, 7_200_000);
    const marked = await again(row);
    const { since, purgeAt } = marked.deleting as NonNullable<SagaRow["deleting"]>;
    expect(new Date(purgeAt as string).getTime() - new Date(since).getTime()).toBe(7_200_000);
    expect(marked.deletionPolicy).toBe("Delete");
  });

  test("without grace there is none", async () => {
    const row = await rested();
    await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 0);
    expect((await again(row)).deleting).not.toHaveProperty("purgeAt");
  });

  test.each([
    ["an orphan", { state: "orphaned" }],
    ["another cluster's row", { cluster_id: "another" }],
    ["an unconfirmed row", { confirmed_at: null }],
  ])("%s is not marked as deleted", async (_what, columns) => {
    const row = await rested("ada", columns);
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 0)).toBeUndefined();
    expect((await again(row)).deleting).toBeUndefined();
  });

  test("a Secret that changed makes its person's Secret step due, and only for those who are done", async () => {
    const row = await rested("ada", { secret_namespace: "tenant-a", secret_name: "s" });
    expect(await touchSecret(pool, "tenant-a", "s")).toBe(true);
    expect(await again(row)).toMatchObject({
      run: { reason: "drift", step: "secret", generation: 1, attempt: 0, done: false },
    });
    expect(await touchSecret(pool, "tenant-a", "other")).toBe(false);
    await set(row, { state: "deleting", deleting: deleting(false), run: null });
    expect(await touchSecret(pool, "tenant-a", "s")).toBe(false);
  });

  test("the Secret that the service wrote itself makes nothing due, a later version of it does", async () => {
    const row = await rested("ada", { secret_namespace: "tenant-a", secret_name: "s", secret_version: "7" });
    expect(await touchSecret(pool, "tenant-a", "s", "7")).toBe(false);
    expect((await again(row)).run).toBeUndefined();
    expect(await touchSecret(pool, "tenant-a", "s", "8")).toBe(true);
    expect((await again(row)).run).toMatchObject({ reason: "drift", step: "secret" });
  });

  test.each([
    ["goes", undefined, true],
    ["is changed", "8", true],
    ["is written by the run itself", "7", false],
  ])("a Secret that %s while a run continues is looked at when the run ends", async (_what, version, looksAgain) => {
    const { owner } = await worker();
    const row = await rested("ada", {
      secret_namespace: "tenant-a",
      secret_name: "s",
      secret_version: "7",
      due_at: new Date(0),
      run: JSON.stringify({ reason: "edit", generation: 2, step: "secret", attempt: 0, done: true }),
    });
    await touchSecret(pool, "tenant-a", "s", version);
    const claim = await claimOne(owner);
    expect(claim.row.run).toMatchObject({ reason: "edit" });
    const handled: Handled = { generation: 2, tenantRevision: "r1", key: "works", notes: [] };
    await record(pool, claim, giving({ run: null, handled }));
    const after = await again(row);
    expect(after.run).toEqual(
      looksAgain ? { reason: "drift", generation: 2, step: "secret", attempt: 0, done: false } : undefined,
    );
    expect(after.dueAt === undefined).toBe(!looksAgain);
    // And once only.
    if (!looksAgain) return;
    await record(pool, await claimOne(owner), giving({ run: null, handled }));
    expect((await again(row)).run).toBeUndefined();
  });

  test("a Secret that is not in the list makes its person's Secret step due", async () => {
    const there = randomUUID();
    const secret = { secret_namespace: "tenant-a", secret_name: "a", secret_version: "7" };
    const kept = await rested("kept", { ...secret, secret_uid: there });
    const lost = await rested("lost", { ...secret, secret_uid: randomUUID() });
    expect(await compareSecrets(pool, "tenant-a", [{ uid: there, version: "7" }])).toBe(1);
    expect((await again(lost)).run).toMatchObject({ reason: "drift" });
    expect((await again(kept)).run).toBeUndefined();
  });

  test("a Secret that was written while nobody watched is looked at, once", async () => {
    const uid = randomUUID();
    const row = await rested("ada", {
      secret_namespace: "tenant-a",
      secret_name: "a",
      secret_uid: uid,
      secret_version: "7",
    });
    expect(await compareSecrets(pool, "tenant-a", [{ uid, version: "8" }])).toBe(1);
    expect((await again(row)).run).toMatchObject({ reason: "drift", step: "secret" });
    await set(row, { run: null, due_at: null, secret_version: "8" });
    expect(await compareSecrets(pool, "tenant-a", [{ uid, version: "8" }])).toBe(0);
    expect(await compareSecrets(pool, "tenant-b", [])).toBe(0);
  });

  test("when an upstream is back, those who are not settled are due; the settled and the stalled are not", async () => {
    const settled = await rested();
    const stalled = await rested("stalled", { state: "failed", blocked_on: "1|r1||" });
    const waiting = await rested("waiting", { state: "failed", backoff_until: new Date(Date.now() + 300_000) });
    const drifting = await rested("drifting", {
      run: JSON.stringify({ reason: "drift", generation: 1, step: "secret", attempt: 0, done: false }),
    });
    expect(await touchUnsettled(pool, "acme", 1000)).toBe(2);
    expect((await again(settled)).dueAt).toBeUndefined();
    expect((await again(stalled)).dueAt).toBeUndefined();
    for (const row of [waiting, drifting]) {
      const { dueAt, backoffUntil } = await again(row);
      expect(backoffUntil).toBeUndefined();
      expect((dueAt as Date).getTime()).toBeLessThan(Date.now() + 2000);
    }
  });

  test("when an upstream is back, those who were held because of it are due, and no other's pause ends", async () => {
    const error = (step: string, upstreamStatus?: number) =>
      JSON.stringify({ step, class: "transient", code: "UpstreamUnavailable", upstreamStatus });
    const pausing = (name: string, last_error: string) =>
      rested(name, { state: "failed", last_error, backoff_until: new Date(Date.now() + 300_000) });
    const held = [
      await pausing("silent", error("keycloak")),
      await pausing("bad-gateway", error("keycloak", 502)),
      await pausing("too-many", error("keycloak", 429)),
      // It was told to wait for the breaker, and has no pause of its own.
      await rested("waiting", { state: "pending", due_at: new Date(Date.now() + 45_000) }),
      await rested("waiting-again", {
        state: "pending",
        due_at: new Date(Date.now() + 45_000),
        last_error: error("keycloak", 500),
        backoff_until: new Date(Date.now() - 1_000),
      }),
    ];
    const others = [
      await pausing("mail", error("keycloak", 500)),
      await pausing("gateway", error("newapi")),
      await pausing("quota", JSON.stringify({ step: "newapi", class: "waiting", code: "GatewayLimited" })),
    ];
    expect(await resumeHeld(pool, "acme", { steps: ["keycloak"], spreadMs: 1000 })).toBe(held.length);
    for (const row of held) {
      const { dueAt, backoffUntil } = await again(row);
      expect(backoffUntil).toBeUndefined();
      expect((dueAt as Date).getTime()).toBeLessThan(Date.now() + 2000);
    }
    for (const row of others) {
      const { backoffUntil } = await again(row);
      expect((backoffUntil as Date).getTime()).toBeGreaterThan(Date.now() + 200_000);
    }
  });

  test("when a credential is let in again, those whom its refusal had stopped continue too", async () => {
    const stopped = (code: string) => ({ state: "failed", blocked_on: "1|r1||", last_error: JSON.stringify({ code }) });
    const refused = await rested("refused", stopped("CredentialsRefused"));
    const claimed = await rested("claimed", stopped("UserClaimed"));
    const resumption = { steps: ["keycloak"], spreadMs: 1000, resumed: ["CredentialsRefused"] };
    expect(await resumeHeld(pool, "acme", resumption)).toBe(1);
    expect(await again(refused)).toMatchObject({ blockedOn: undefined, dueAt: expect.any(Date) });
    expect(await again(claimed)).toMatchObject({ blockedOn: "1|r1||", dueAt: undefined });
  });

  test("when a gateway lets more logins through, those of its tenants who wait for that are called, and nobody else", async () => {
    const later = new Date(Date.now() + 1_200_000);
    const waits = (code: string) => ({ due_at: later, backoff_until: later, last_error: JSON.stringify({ code }) });
    const limited = await rested("limited", waits("GatewayLimited"));
    const other = await rested("other", waits("TenantNotReady"));
    expect(await touchWaiting(pool, ["elsewhere"], "GatewayLimited", 0)).toBe(0);
    expect(await touchWaiting(pool, ["acme", "elsewhere"], "GatewayLimited", 1_000)).toBe(1);
    const called = await again(limited);
    expect(called.backoffUntil).toBeUndefined();
    expect(called.dueAt?.getTime()).toBeLessThan(Date.now() + 2_000);
    expect((await again(other)).dueAt?.getTime()).toBe(later.getTime());
  });

  test("who is done and waits for a moment is called too: the edit of a Ready person has no run yet", async () => {
    const waiting = await rested("waiting", { due_at: new Date(Date.now() + 60_000) });
    expect(await touchUnsettled(pool, "acme", 0)).toBe(1);
    expect((await again(waiting)).dueAt?.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
  });
});

function anEvent(row: { uuid: string }, n: string): UserEvent {
  return userEvent(
    {
      type: "sme.user.created",
      uuid: row.uuid,
      tenantID: "acme",
      email: "ada@example.com",
      keycloakUserID: "kc-1",
      newapiUserID: undefined,
      secretName: undefined,
      n,
      metadata: {},
    },
    new Date("2026-05-01T12:00:00Z"),
  );
}

describe("the outbox", () => {
  const put = async (count: number, of: { uuid?: string } = {}) => {
    const events = Array.from({ length: count }, (_, n) => anEvent({ uuid: of.uuid ?? randomUUID() }, String(n)));
    await enqueueEvents(pool, events);
    return events;
  };
  const payloads = async () => (await unsentEvents(pool, 100, 100)).map(({ payload }) => payload);

  test("gives what is unsent in order, whole, and not again once it is marked", async () => {
    const events = await put(5);
    const first = await unsentEvents(pool, 3, 100);
    expect(first.map(({ payload }) => payload)).toEqual(events.slice(0, 3));
    await markSent(
      pool,
      first.map(({ seq }) => seq),
    );
    expect(await payloads()).toEqual(events.slice(3));
  });

  test("keeps the trace of what an event tells of", async () => {
    const { owner } = await worker();
    await bound();
    const claim = await claimOne(owner);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const events = [anEvent(claim.row, "")];
    await record(pool, claim, { patch: {}, lease: { dueAt: null }, audit: [], events, traceparent });
    await put(1);
    expect((await unsentEvents(pool, 100, 100)).map((entry) => entry.traceparent)).toEqual([traceparent, null]);
  });

  test("keeps an event once, however often it is told, also after it was sent", async () => {
    const event = anEvent({ uuid: randomUUID() }, "");
    await enqueueEvents(pool, [event]);
    await enqueueEvents(pool, [event]);
    const [only, ...more] = await unsentEvents(pool, 100, 100);
    expect(more).toEqual([]);
    await markSent(pool, [only?.seq ?? ""]);
    await enqueueEvents(pool, [event]);
    expect(await payloads()).toEqual([]);
  });

  test("gives no tenant more than its share of a batch, and each its oldest first", async () => {
    const crowd = await put(30);
    const one = { ...anEvent({ uuid: randomUUID() }, "late"), tenant_id: "zeta" };
    await enqueueEvents(pool, [one]);
    const batch = await unsentEvents(pool, 10, 5);
    expect(batch.map(({ payload }) => payload)).toEqual([crowd[0], one, ...crowd.slice(1, 5)]);
  });

  test("an event that waits for its next attempt holds back those of its person, and nobody else's", async () => {
    const uuid = randomUUID();
    const own = await put(2, { uuid });
    const [other] = await put(1);
    const [first] = await unsentEvents(pool, 100, 100);
    await deferEvent(pool, first?.seq ?? "", 60);
    expect(await payloads()).toEqual([other]);
    await pool.query("update outbox set retry_at = now() - interval '1 second' where retry_at is not null");
    expect(await payloads()).toEqual([...own, other]);
  });

  test("a parked event holds back nothing, is listed, and can be sent again", async () => {
    const uuid = randomUUID();
    const [poisoned, next] = await put(2, { uuid });
    const [entry] = await unsentEvents(pool, 100, 100);
    await parkEvent(pool, entry?.seq ?? "", "It has 2000000 bytes.");
    expect(await payloads()).toEqual([next]);
    expect(await parkedEvents(pool, "acme", 10)).toMatchObject([
      { id: poisoned?.id, type: "sme.user.created", tenantID: "acme", uuid, reason: "It has 2000000 bytes." },
    ]);
    expect(await parkedEvents(pool, "zeta", 10)).toEqual([]);
    expect(await unparkEvents(pool, "zeta")).toBe(0);
    expect(await unparkEvents(pool, "acme")).toBe(1);
    expect(await payloads()).toEqual([poisoned, next]);
  });

  test("is held by one at a time", async () => {
    const inside = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<void>();
    const holder = withOutbox(pool, async () => {
      inside.resolve();
      await leave.promise;
      return "sent";
    });
    await inside.promise;
    expect(await withOutbox(pool, () => Promise.resolve("sent"))).toBeUndefined();
    leave.resolve();
    expect(await holder).toBe("sent");
    expect(await withOutbox(pool, () => Promise.resolve("sent"))).toBe("sent");
  });

  test("is taken from one whose process stands still", async () => {
    const inside = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<void>();
    const holder = withOutbox(pool, async (db) => {
      // As long as it takes Postgres to lose patience, only shorter.
      await db.query("select set_config('idle_session_timeout', '300ms', false)");
      inside.resolve();
      await leave.promise;
      return "sent";
    });
    await inside.promise;
    await expect.poll(() => withOutbox(pool, () => Promise.resolve("sent"))).toBe("sent");
    leave.resolve();
    await expect(holder).rejects.toBeInstanceOf(Error);
    // Its connection is closed, and a session that has given the outbox back may be idle for as long as it likes.
    const { rows } = await pool.query<{ idle: string }>("select current_setting('idle_session_timeout') as idle");
    expect(rows).toEqual([{ idle: "0" }]);
  });

  test("forgets what was sent long ago, and nothing that was not sent", async () => {
    await put(2);
    const [first] = await unsentEvents(pool, 1, 1);
    await markSent(pool, [first?.seq ?? ""]);
    await pool.query(
      "update outbox set sent_at = sent_at - interval '8 days', created_at = created_at - interval '8 days'",
    );
    expect(await forgetSentEvents(pool, 7)).toBe(1);
    expect((await pool.query("select from outbox")).rowCount).toBe(1);
  });
});

describe("the audit", () => {
  test("keeps entries in order, with their detail", async () => {
    const uuid = randomUUID();
    await appendAudit(pool, [
      {
        uuid,
        tenantID: "acme",
        step: "keycloak",
        action: "created",
        target: "kc-1",
        detail: { groups: ["/a"], quoted: 'say "hi", {x}' },
      },
      { uuid, tenantID: "acme", step: "secret", action: "deleted", target: undefined },
    ]);
    const { rows } = await pool.query("select step, action, target, detail from audit order by seq");
    expect(rows).toEqual([
      { step: "keycloak", action: "created", target: "kc-1", detail: { groups: ["/a"], quoted: 'say "hi", {x}' } },
      { step: "secret", action: "deleted", target: null, detail: null },
    ]);
  });

  test("has an entry once that is told again, because the answer to the first telling was lost", async () => {
    const uuid = randomUUID();
    const entry = { id: randomUUID(), uuid, tenantID: "acme", step: "secret", action: "created", target: "s" };
    await appendAudit(pool, [entry]);
    await appendAudit(pool, [{ ...entry, id: randomUUID(), action: "updated" }, entry]);
    const { rows } = await pool.query("select action from audit order by seq");
    expect(rows).toEqual([{ action: "created" }, { action: "updated" }]);
  });

  test("is append-only", async () => {
    await appendAudit(pool, [
      { uuid: randomUUID(), tenantID: "acme", step: "keycloak", action: "created", target: "kc-1" },
    ]);
    await expect(pool.query("update audit set action = 'x'")).rejects.toThrow(/never changed/);
    await expect(pool.query("delete from audit")).rejects.toThrow(/never changed/);
  });
});

test("the standing counts what metrics show", async () => {
  await set(await bound({ name: "done" }), DONE);
  await set(await bound({ name: "failed" }), {
    state: "failed",
    last_error: JSON.stringify({ code: "UserClaimed" }),
    due_at: null,
  });
  await set(await bound({ name: "cleanup" }), {
    state: "deleting",
    deleting: deleting(true),
    due_at: new Date(Date.now() - 5000),
  });
  await bind(pool, bindRequest({ name: "x", email: "done@example.com" }), nobody);
  await enqueueEvents(pool, [anEvent({ uuid: randomUUID() }, "")]);
  const standing = await readStats(pool);
  expect(standing).toMatchObject({
    users: { done: 1, failed: 1, deleting: 1 },
    errors: { UserClaimed: 1 },
    waiting: { EmailInUse: 1 },
    due: 1,
    cleanups: 1,
    outbox: 1,
  });
  expect(Date.now() / 1000 - standing.oldestDueAt).toBeGreaterThan(4);
});

describe("who is past the objective", () => {
  afterEach(() => pool.query("delete from tenants"));

  const longAgo = new Date(Date.now() - 120_000);
  const overdue = async () => (await readStats(pool)).overdue;
  const since = (at: Date, given: object = {}) =>
    JSON.stringify({ ...JSON.parse(deleting(false)), since: at.toISOString(), ...given });
  const failed = (code: string) => ({ state: "failed", last_error: JSON.stringify({ code }), due_at: null });

  test("is who was made a minute ago and is not Ready, unless the tenant must act", async () => {
    const of = (name: string, createdAt: Date) => bound({ name, email: `${name}@example.com`, createdAt });
    await of("new", new Date());
    await of("late", longAgo);
    await set(await of("refused", longAgo), failed("UserClaimed"));
    await set(await of("not-allowed", longAgo), failed("NotAllowed"));
    await set(await of("ready", longAgo), { ...DONE, handled: handled() });
    expect(await overdue()).toEqual({ ready: 2, removed: 0 });
  });

  test("is not who is suspended: nothing is due, nothing failed, and the Tenant is ready or suspended", async () => {
    await set(await bound({ createdAt: longAgo }), { due_at: null });
    expect(await overdue()).toMatchObject({ ready: 1 });
    await pool.query(`insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision, ready)
      values ('acme', gen_random_uuid(), 'acme', now(), '{"suspend": true}', 'r1', false)`);
    expect(await overdue()).toMatchObject({ ready: 0 });
    await pool.query("update tenants set accepted = '{}'");
    expect(await overdue()).toMatchObject({ ready: 1 });
    await pool.query("update tenants set ready = true");
    expect(await overdue()).toMatchObject({ ready: 0 });
  });

  test("is who was deleted a minute ago and is still held", async () => {
    const held = async (name: string, its: string) =>
      set(await bound({ name, email: `${name}@example.com` }), {
        state: "deleting",
        deleting: its,
        due_at: new Date(),
      });
    await held("now", since(new Date()));
    await held("late", since(longAgo));
    await held("cleanup", since(longAgo, { released: true }));
    await held("again", since(longAgo, { again: true }));
    expect(await overdue()).toEqual({ ready: 0, removed: 1 });
  });
});

test("the oldest drift check that is due is that of a Tenant that is ready", async () => {
  const at = (seconds: number) => new Date(Date.now() - seconds * 1000);
  for (const [tenant, nextAt, ready] of [
    ["acme", at(100), true],
    ["globex", at(900), false],
    ["initech", at(-900), true],
  ] as const) {
    onTestFinished(() => pool.query("delete from tenants; delete from drift_checks").then(() => undefined));
    await pool.query("insert into drift_checks values ($1, $2)", [tenant, nextAt]);
    await pool.query(
      `insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision, ready)
       values ($1, gen_random_uuid(), $1, now(), '{}', 'r1', $2)`,
      [tenant, ready],
    );
  }
  expect(Date.now() / 1000 - (await readStats(pool)).oldestDriftCheckAt).toBeCloseTo(100, -1);
});
