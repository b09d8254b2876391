/** The store on a real Postgres: claims and their fences, uuids, handing over, what the watch saw, outbox and audit. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { userEvent, type UserEvent } from "../../src/api/userEvent.ts";
import type { Handled, RowPatch, SagaRow } from "../../src/saga/row.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { appendAudit } from "../../src/store/audit.ts";
import { type Applicant, bind, type Binding } from "../../src/store/bindings.ts";
import { handOver, moveEmail, takeOver } from "../../src/store/moves.ts";
import { firstWaiter, forgetApplicant, listWaiting, waitForTenant } from "../../src/store/waiting.ts";
import {
  type Claim,
  claimDue,
  earliestDueMs,
  livingWorkers,
  lookAfterLate,
  record,
  type Recording,
} from "../../src/store/claims.ts";
import { drainOutbox, enqueueEvents, forgetSentEvents } from "../../src/store/outbox.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import {
  compareList,
  compareSecrets,
  markSeenDeleted,
  orphanForeignRows,
  type Sighting,
  touchObject,
  touchSecret,
  touchUnsettled,
  voidUnconfirmed,
} from "../../src/store/sightings.ts";
import { readStanding } from "../../src/store/standing.ts";
import { openWorkerSession, type WorkerSession } from "../../src/store/workerSession.ts";
import { applicant, CLUSTER } from "../support/builders.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";
import { statementJournal } from "../support/statementJournal.ts";

let database: TestDatabase;
let pool: Pool;
const sessions: WorkerSession[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  pool = makePool({ url: database.url, max: 20, applicationName: "test" });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  await pool.query("truncate user_provision_state, waiting, outbox, audit");
});

async function worker(): Promise<WorkerSession> {
  const session = await openWorkerSession(database.url, "test worker");
  sessions.push(session);
  return session;
}

const nobody = (): Promise<undefined> => Promise.resolve(undefined);

async function bound(given: Partial<Applicant> = {}): Promise<SagaRow> {
  return rowOf(await bind(pool, applicant(given), nobody));
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
    const [dying, heir] = await Promise.all([worker(), worker()]);
    const row = await bound();
    await claimOne(dying.owner);
    expect(await claimDue(pool, heir.owner, 1)).toEqual([]);
    await dying.close();
    await expect
      .poll(() => claimDue(pool, heir.owner, 1), { timeout: 5000 })
      .toMatchObject([{ row: { uuid: row.uuid } }]);
  });

  test("takes over a lease that ran out although its worker lives", async () => {
    const [slow, heir] = await Promise.all([worker(), worker()]);
    const row = await bound();
    await claimOne(slow.owner);
    await set(row, { lease_until: new Date(Date.now() - 1000) });
    expect(await claimDue(pool, heir.owner, 1)).toHaveLength(1);
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
        code: "NeighbourUnavailable",
        message: "x",
        at: "2026-05-01T12:00:00Z",
      },
    };
    const next = await record(pool, await claimOne(owner), { ...quiet, patch, lease: "keep" });
    expect(await again(row)).toMatchObject(patch);
    await record(pool, next as Claim, giving({ run: null, lastError: null, secretUID: null }));
    expect(await again(row)).toMatchObject({
      run: undefined,
      lastError: undefined,
      secretUID: undefined,
      keycloakUserID: "kc-1",
      dueAt: undefined,
    });
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
    const kept = await record(pool, claim, { ...quiet, lease: "keep" });
    await touchObject(pool, row.objectUID as string);
    const later = new Date(Date.now() + 300_000);
    await record(pool, kept as Claim, giving({ backoffUntil: later }, later));
    expect(await again(row)).toMatchObject({ backoffUntil: undefined });
    expect(await claimDue(pool, owner, 1)).toHaveLength(1);
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
    const ada = applicant();
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
    const ada = applicant();
    const bindings = await Promise.all(Array.from({ length: 8 }, () => bind(pool, ada, nobody)));
    expect(new Set(bindings.map((binding) => rowOf(binding).uuid)).size).toBe(1);
    expect((await pool.query("select from user_provision_state")).rowCount).toBe(1);
  });

  test("of eight objects with one email one gets the row and seven wait", async () => {
    const bindings = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        bind(pool, applicant({ name: `ada-${n}`, email: "ada@example.com" }), nobody),
      ),
    );
    expect(bindings.filter((binding) => binding.kind === "bound")).toHaveLength(1);
    expect(bindings.filter((binding) => binding.kind === "waiting")).toHaveLength(7);
    expect(await listWaiting(pool, "acme")).toHaveLength(7);
  });

  test("a living holder of the email makes the newcomer wait, naming it, and never yields /2", async () => {
    const holder = await bound();
    for (const state of [{}, DONE, { state: "failed" }, { state: "deleting", deleting: deleting(false) }]) {
      await set(holder, state);
      const binding = await bind(pool, applicant({ name: "other", email: "ada@example.com" }), nobody);
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
      return Promise.resolve(undefined);
    };
    await bind(pool, applicant(), ask);
    await bind(pool, applicant({ name: "fresh", pin: randomUUID() }), ask);
    expect(asked).toEqual([]);
    const pin = candidateUUID("acme", "before@example.com");
    expect(await bind(pool, applicant({ name: "grace", pin }), ask)).toMatchObject({ kind: "refused" });
    expect(asked).toEqual([pin]);
  });

  test("a pin that a user of this tenant carries upstream is the tenant's own, though the database was lost", async () => {
    const pin = candidateUUID("acme", "before@example.com");
    expect(rowOf(await bind(pool, applicant({ pin }), (asked) => Promise.resolve(asked))).uuid).toBe(pin);
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
      ["living", {}],
      ["deleted", { state: "deleted", object_uid: null }],
    ])("is never another tenant's %s one", async (_what, columns) => {
      const theirs = await set(await bound({ tenantID: "umbrella" }), columns);
      expect(await bind(pool, applicant({ pin: theirs.uuid }), nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
      expect(await again(theirs)).toMatchObject({ tenantID: "umbrella" });
    });

    test("is not another tenant's before that one exists either: it would take its place", async () => {
      const pin = candidateUUID("umbrella", "ada@example.com");
      expect(await bind(pool, applicant({ pin }), nobody)).toMatchObject({ kind: "refused", reason: "UUIDNotYours" });
      expect((await bound({ tenantID: "umbrella" })).uuid).toBe(pin);
    });

    test("is not a colleague's", async () => {
      const colleague = await bound({ name: "grace" });
      expect(await bind(pool, applicant({ pin: colleague.uuid }), nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
    });

    test("cannot be added to one who has another", async () => {
      const ada = applicant();
      await bind(pool, ada, nobody);
      expect(await bind(pool, { ...ada, pin: randomUUID() }, nobody)).toMatchObject({
        kind: "refused",
        reason: "UUIDNotYours",
      });
    });
  });

  describe("that comes back", () => {
    test.each([
      ["retained", { ...DONE, state: "retained", object_uid: null }],
      ["an orphan", { ...DONE, state: "orphaned" }],
      ["a debt", { ...DONE, state: "deleting", deleting: deleting(true, ["secret"]) }],
    ])("%s: is the same person with the same ids", async (_what, columns) => {
      const old = await set(await bound(), columns);
      const newcomer = applicant({ name: "ada-again", email: "ada@example.com" });
      const binding = await bind(pool, newcomer, nobody);
      expect(binding).toMatchObject({
        kind: "bound",
        returned: true,
        row: {
          uuid: old.uuid,
          objectUID: newcomer.uid,
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

    test("deleted: is the same uuid, a new Keycloak user, and another key than the one let go of", async () => {
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

    test("a debt whose Keycloak user is gone already: makes a new one", async () => {
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
      const ada = applicant();
      const old = rowOf(await bind(pool, ada, nobody));
      await set(old, { ...DONE, state: "orphaned" });
      expect(rowOf(await bind(pool, ada, nobody))).toMatchObject({ uuid: old.uuid, state: "done" });
    });
  });

  describe("that admission proposed", () => {
    const propose = (of: Applicant, uuid: string, email = of.email) =>
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
      const ada = applicant();
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
      const never = applicant({ name: "never", email: "ada@example.com" });
      const uuid = candidateUUID("acme", "ada@example.com");
      await propose(never, uuid);
      await pool.query("update user_provision_state set voided_at = now()");
      const ada = applicant();
      expect(rowOf(await bind(pool, ada, nobody))).toMatchObject({
        uuid,
        objectUID: ada.uid,
        voided: false,
        confirmed: true,
      });
    });

    test("is voided when the object gets another one", async () => {
      const ada = applicant();
      const proposed = randomUUID();
      await propose(ada, proposed);
      expect(rowOf(await bind(pool, ada, nobody)).uuid).not.toBe(proposed);
      expect(await loadSaga(pool, proposed)).toMatchObject({ voided: true, confirmed: false });
    });

    test("is voided two minutes after nobody saw its object, not before", async () => {
      await propose(applicant(), candidateUUID("acme", "ada@example.com"));
      await bound({ name: "seen" });
      expect(await voidUnconfirmed(pool)).toBe(0);
      await pool.query("update user_provision_state set created_at = now() - interval '121 seconds'");
      expect(await voidUnconfirmed(pool)).toBe(1);
      expect(await loadSaga(pool, candidateUUID("acme", "seen@example.com"))).toMatchObject({ voided: false });
    });

    test("is voided when its object goes", async () => {
      const ada = applicant();
      await propose(ada, candidateUUID("acme", ada.email));
      await forgetApplicant(pool, ada.uid);
      expect(await loadSaga(pool, candidateUUID("acme", ada.email))).toMatchObject({ voided: true });
    });
  });
});

describe("the quota", () => {
  const at = (minute: number) => new Date(Date.UTC(2026, 4, 1, 10, minute));

  test("lets so many live, the others wait, and the oldest comes first", async () => {
    const first = await bound({ name: "a", maxUsers: 1, createdAt: at(0) });
    const young = applicant({ name: "young", maxUsers: 1, createdAt: at(9) });
    const old = applicant({ name: "old", maxUsers: 1, createdAt: at(5) });
    expect(await bind(pool, young, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect(await bind(pool, old, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect((await listWaiting(pool, "acme")).map((each) => each.name)).toEqual(["old", "young"]);
    await set(first, { state: "deleted", object_uid: null });
    expect(await bind(pool, young, nobody)).toMatchObject({ kind: "waiting", reason: "QuotaFull" });
    expect(await bind(pool, old, nobody)).toMatchObject({ kind: "bound" });
    expect(await listWaiting(pool, "acme")).toMatchObject([{ name: "young" }]);
  });

  test("counts living ones only: not graces, debts, retained ones, orphans or candidates", async () => {
    for (const [name, columns] of Object.entries({
      debt: { state: "deleting", deleting: deleting(true) },
      retained: { state: "retained" },
      orphan: { state: "orphaned" },
      candidate: { confirmed_at: null },
    })) {
      await set(await bound({ name }), columns);
    }
    expect(await bind(pool, applicant({ maxUsers: 1 }), nobody)).toMatchObject({ kind: "bound" });
  });

  test("holds when many come at once", async () => {
    const bindings = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        bind(pool, applicant({ name: `u${n}`, maxUsers: 3, createdAt: at(n) }), nobody),
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
    expect(await firstWaiter(pool, "acme", "grace@example.com")).toBeUndefined();
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

  test("the row goes on under it, with nothing else changed", async () => {
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

describe("handing over", () => {
  async function goingWithWaiter() {
    const { owner } = await worker();
    const holder = await set(await bound(), {
      ...DONE,
      state: "deleting",
      deleting: deleting(false, ["secret"]),
      due_at: new Date(0),
    });
    const heir = applicant({ name: "ada-new", email: "ada@example.com", namespace: "tenant-b" });
    await bind(pool, heir, nobody);
    return { owner, holder, heir };
  }

  test("gives the saga to the waiter: same uuid, ids and key", async () => {
    const { owner, holder, heir } = await goingWithWaiter();
    const to = await firstWaiter(pool, "acme", "ada@example.com");
    expect(to).toMatchObject({ uid: heir.uid, namespace: "tenant-b", name: "ada-new" });
    expect(await handOver(pool, await claimOne(owner), to as NonNullable<typeof to>)).toBe(true);
    expect(await again(holder)).toMatchObject({
      objectUID: heir.uid,
      namespace: "tenant-b",
      name: "ada-new",
      state: "done",
      deleting: undefined,
      keycloakUserID: "kc-1",
      newapiUserID: "na-1",
      run: { reason: "handover" },
    });
    // The object that went is still to be let go; it is nobody's heir.
    expect(await listWaiting(pool, "acme")).toMatchObject([{ uid: holder.objectUID }]);
    expect(await firstWaiter(pool, "acme", "ada@example.com")).toBeUndefined();
    expect(await claimDue(pool, owner, 1)).toHaveLength(1);
  });

  test("makes a new Keycloak user when the old one is gone already", async () => {
    const { owner, holder } = await goingWithWaiter();
    await set(holder, { deleting: deleting(false, ["secret", "newapi", "keycloak"]) });
    const to = await firstWaiter(pool, "acme", "ada@example.com");
    await handOver(pool, await claimOne(owner), to as NonNullable<typeof to>);
    expect(await again(holder)).toMatchObject({ state: "pending", reached: "pending", keycloakUserID: undefined });
  });

  test("is fenced, and the waiter goes on waiting when the lease is lost", async () => {
    const { owner, holder, heir } = await goingWithWaiter();
    const stale = await claimOne(owner);
    await set(holder, { lease_until: new Date(0) });
    await claimOne(owner);
    const to = await firstWaiter(pool, "acme", "ada@example.com");
    expect(await handOver(pool, stale, to as NonNullable<typeof to>)).toBe(false);
    expect(await again(holder)).toMatchObject({ objectUID: holder.objectUID });
    expect(await firstWaiter(pool, "acme", "ada@example.com")).toMatchObject({ uid: heir.uid });
  });

  test("goes to the oldest, then to the lowest uid", async () => {
    await bound();
    const wait = (uid: string, minute: number) =>
      bind(
        pool,
        applicant({
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
    expect(await firstWaiter(pool, "acme", "ada@example.com")).toMatchObject({ name: "bbbbbbbb" });
    expect(await firstWaiter(pool, "umbrella", "ada@example.com")).toBeUndefined();
  });

  test("an object in a namespace without a Tenant waits for nobody's email", async () => {
    const uid = randomUUID();
    await waitForTenant(pool, { uid, namespace: "wild", name: "ada", createdAt: new Date(), email: "ada@example.com" });
    expect(await firstWaiter(pool, "acme", "ada@example.com")).toBeUndefined();
    expect(await listWaiting(pool, "acme")).toMatchObject([{ uid }]);
    expect(await listWaiting(pool, undefined)).toMatchObject([{ uid }]);
  });
});

describe("what the watch saw", () => {
  const sighting = (row: SagaRow, given: Partial<Sighting> = {}): Sighting => ({
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
    const outcome = await compareList(pool, CLUSTER, [sighting(row), sighting(orphaned)]);
    expect(outcome.strangers).toMatchObject([{ uid: orphaned.objectUID }]);
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
    await compareList(pool, CLUSTER, [sighting(row, given)]);
    expect((await again(row)).dueAt).toBeDefined();
  });

  test("a blocked row is due only when something could lift its block", async () => {
    const row = await rested("ada", { state: "failed", blocked_on: "3|r1||" });
    await compareList(pool, CLUSTER, [sighting(row, { generation: 3 })]);
    expect((await again(row)).dueAt).toBeUndefined();
    await compareList(pool, CLUSTER, [sighting(row, { generation: 3, requestedAt: "t1" })]);
    expect((await again(row)).dueAt).toBeDefined();
  });

  test("names objects without a row and rows without an object, of this cluster only", async () => {
    const there = await rested();
    const missing = await rested("missing");
    await rested("gone", { state: "deleted" });
    await rested("going", { state: "deleting", deleting: deleting(false) });
    await rested("elsewhere", { cluster_id: "another" });
    const stranger = sighting(there, { uid: randomUUID() });
    const outcome = await compareList(pool, CLUSTER, [sighting(there), stranger]);
    expect(outcome.strangers).toEqual([stranger]);
    expect(outcome.missing.map((row) => row.uuid)).toEqual([missing.uuid]);
    expect(await again(missing)).toMatchObject({ state: "done" });
  });

  test("an empty list is no deletion of everybody", async () => {
    const row = await rested();
    const { missing } = await compareList(pool, CLUSTER, []);
    expect(missing).toHaveLength(1);
    expect(await again(row)).toMatchObject({ state: "done", deleting: undefined });
  });

  test("rows of another cluster become orphans, those going down stay what they are", async () => {
    const theirs = await rested("theirs", { cluster_id: "another" });
    const going = await rested("going", { cluster_id: "another", state: "deleting", deleting: deleting(true) });
    const ours = await rested();
    expect(await orphanForeignRows(pool, CLUSTER)).toBe(1);
    expect(await again(theirs)).toMatchObject({ state: "orphaned" });
    expect(await again(going)).toMatchObject({ state: "deleting" });
    expect(await again(ours)).toMatchObject({ state: "done" });
  });

  test("a deletion that was seen of an object nobody held is undone, with its grace", async () => {
    const row = await rested();
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 3_600_000)).toBe(true);
    const marked = await again(row);
    expect(marked).toMatchObject({
      state: "deleting",
      deleting: { objectUID: row.objectUID, released: true, undone: [] },
    });
    const { since, purgeAt } = marked.deleting as NonNullable<SagaRow["deleting"]>;
    expect(new Date(purgeAt as string).getTime() - new Date(since).getTime()).toBe(3_600_000);
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 0)).toBe(false);
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
    expect(await markSeenDeleted(pool, row.objectUID as string, CLUSTER, 0)).toBe(false);
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
  ])("a Secret that %s while a run goes on is looked at when the run ends", async (_what, version, looksAgain) => {
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

  test("when a neighbour is back, those who are not settled are due; the settled and the stalled are not", async () => {
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

  test("when a credential is let in again, those whom its refusal had stopped go on too", async () => {
    const stopped = (code: string) => ({ state: "failed", blocked_on: "1|r1||", last_error: JSON.stringify({ code }) });
    const refused = await rested("refused", stopped("CredentialsRefused"));
    const claimed = await rested("claimed", stopped("UserClaimed"));
    expect(await touchUnsettled(pool, "acme", 1000, ["CredentialsRefused"])).toBe(1);
    expect(await again(refused)).toMatchObject({ blockedOn: undefined, dueAt: expect.any(Date) });
    expect(await again(claimed)).toMatchObject({ blockedOn: "1|r1||", dueAt: undefined });
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
  const put = async (count: number) => {
    const events = Array.from({ length: count }, (_, n) => anEvent({ uuid: randomUUID() }, String(n)));
    await enqueueEvents(pool, events);
    return events;
  };
  const collect = (into: UserEvent[]) => (event: UserEvent) => {
    into.push(event);
    return Promise.resolve();
  };

  test("sends in order, whole, and once", async () => {
    const events = await put(5);
    const sent: UserEvent[] = [];
    expect(await drainOutbox(pool, 3, collect(sent))).toBe(3);
    expect(await drainOutbox(pool, 3, collect(sent))).toBe(2);
    expect(await drainOutbox(pool, 3, collect(sent))).toBe(0);
    expect(sent).toEqual(events);
  });

  test("keeps an event once, however often it is told", async () => {
    const event = anEvent({ uuid: randomUUID() }, "");
    await enqueueEvents(pool, [event]);
    await enqueueEvents(pool, [event]);
    const sent: UserEvent[] = [];
    await drainOutbox(pool, 10, collect(sent));
    await enqueueEvents(pool, [event]);
    expect(await drainOutbox(pool, 10, collect(sent))).toBe(0);
    expect(sent).toEqual([event]);
  });

  test("a failure keeps the rest, in order, for the next time", async () => {
    const events = await put(4);
    const sent: UserEvent[] = [];
    const failing = drainOutbox(pool, 10, (event) => {
      if (event.id === events[2]?.id) return Promise.reject(new Error("NATS is away"));
      return collect(sent)(event);
    });
    await expect(failing).rejects.toThrow("NATS is away");
    expect(sent).toEqual(events.slice(0, 2));
    await drainOutbox(pool, 10, collect(sent));
    expect(sent).toEqual(events);
  });

  test("several that drain at once send nothing twice", async () => {
    const events = await put(40);
    const sent: UserEvent[] = [];
    const slowly = async (event: UserEvent) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      sent.push(event);
    };
    for (let round = 0; round < 4; round += 1) {
      await Promise.all([drainOutbox(pool, 10, slowly), drainOutbox(pool, 10, slowly), drainOutbox(pool, 10, slowly)]);
    }
    expect(sent.map((event) => event.id).toSorted()).toEqual(events.map((event) => event.id).toSorted());
  });

  test("forgets what was sent long ago, and nothing that was not sent", async () => {
    await put(2);
    await drainOutbox(pool, 1, () => Promise.resolve());
    await pool.query(
      "update outbox set sent_at = sent_at - interval '8 days', created_at = created_at - interval '8 days'",
    );
    await forgetSentEvents(pool, 7);
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
  await set(await bound({ name: "debt" }), {
    state: "deleting",
    deleting: deleting(true),
    due_at: new Date(Date.now() - 5000),
  });
  await bind(pool, applicant({ name: "x", email: "done@example.com" }), nobody);
  await enqueueEvents(pool, [anEvent({ uuid: randomUUID() }, "")]);
  const standing = await readStanding(pool);
  expect(standing).toMatchObject({
    users: { done: 1, failed: 1, deleting: 1 },
    errors: { UserClaimed: 1 },
    waiting: { EmailInUse: 1 },
    due: 1,
    debts: 1,
    outbox: 1,
  });
  expect(standing.oldestDueSeconds).toBeGreaterThan(4);
});
