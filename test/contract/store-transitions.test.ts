/** What the three measured statements make of a row, on a real Postgres: what the pure functions of the saga make of it. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { patched, type RowPatch, type SagaRow, STEPS } from "../../src/saga/row.ts";
import { bound, proposed, runAfterFinish, touched, unseen } from "../../src/saga/transitions.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { insertRow } from "../../src/store/changes.ts";
import { claimDue, record } from "../../src/store/claims.ts";
import { bindNewUser } from "../../src/store/newUsers.ts";
import type { Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { bindRequest } from "../support/builders.ts";
import { useStore } from "../support/store.ts";

let pool: Pool;
useStore((opened) => (pool = opened));

const RUNS = { numRuns: 150 };
const LONG_AGO = new Date("2020-01-01T00:00:00Z");
const day = fc.integer({ min: 0, max: 3 }).map((days) => new Date(LONG_AGO.getTime() + days * 86_400_000));
const some = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined });
const step = fc.constantFrom(...STEPS);

/** A row of any past, but for what tells whose it is. */
const past: fc.Arbitrary<Partial<SagaRow>> = fc.record({
  reached: fc.constantFrom<SagaRow["reached"]>("pending", "kc_created", "newapi_created", "secret_applied", "done"),
  state: fc.constantFrom<SagaRow["state"]>("pending", "kc_created", "done", "failed", "retained", "orphaned"),
  keycloakUserID: some(fc.constant("kc-1")),
  newapiUserID: some(fc.constant("na-1")),
  retryCount: fc.nat(9),
  run: some(
    fc.record({
      reason: fc.constant("edit" as const),
      generation: fc.nat(9),
      step,
      attempt: fc.nat(3),
      done: fc.boolean(),
    }),
  ),
  handled: some(
    fc.record({
      generation: fc.nat(9),
      tenantRevision: fc.constant("r1"),
      key: fc.constant("works" as const),
      notes: fc.constant([]),
    }),
  ),
  blockedOn: some(fc.constant("1|r1||")),
  dueAt: some(day),
  backoffUntil: some(day),
  failedSince: some(day),
  missingSince: some(day),
  adopted: fc.boolean(),
  enabled: fc.boolean(),
  deletionPolicy: fc.constantFrom<SagaRow["deletionPolicy"]>("Delete", "Retain"),
  secretNamespace: some(fc.constant("tenant-b")),
  secretName: some(fc.constant("s")),
  secretVersion: some(fc.constantFrom("7", "8")),
  keyGeneration: fc.nat(9),
  rotation: some(fc.record({ toGeneration: fc.nat(9) })),
  invitedKeycloakUserID: some(fc.constant("kc-1")),
  toReset: some(fc.constantFrom<SagaRow["toReset"]>(["keycloak", "newapi"], ["newapi"])),
  cause: some(fc.constant({ requestUID: "7b1f2c3d-0000-4000-8000-0000000000bb" })),
  recheck: some(fc.oneof(fc.record({ step }), fc.record({ step, version: fc.constantFrom("7", "8") }))),
});

/** As a row of this database. */
async function store(row: SagaRow): Promise<SagaRow> {
  await pool.query("with gone as (delete from waiting) delete from user_provision_state");
  const { createdAt: _made, touches: _touches, version: _version, ...fields } = row;
  return insertRow(
    pool,
    "given",
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
  );
}

/** What is compared: all but the counts of the store, with "now" for every moment of today. */
function plain(row: SagaRow | undefined): unknown {
  const { createdAt: _made, touches: _touches, version: _version, ...fields } = row ?? unseen(NOBODY, LONG_AGO);
  return JSON.parse(JSON.stringify(fields).replaceAll(/"(?!2020)\d{4}-\d\d-\d\dT[^"]+"/g, '"now"'));
}
const CAUSE = { requestUID: "7b1f2c3d-0000-4000-8000-0000000000aa", traceparent: "00-1-2-01" };
const NOBODY = { uuid: "", tenantID: "", email: "" };

describe("binding a new user in one statement", () => {
  const email = "ada@example.com";
  const uuid = candidateUUID("acme", email);
  const object = bindRequest({ createdAt: LONG_AGO });

  test("leaves what the saga says, where nobody has recorded the object", async () => {
    await pool.query("delete from user_provision_state");
    const now = new Date();
    const expected = patched(
      unseen({ uuid, tenantID: "acme", email }, now),
      bound(unseen({ uuid, tenantID: "acme", email }, now), object, now),
    );
    expect(plain(await bindNewUser(pool, object))).toEqual(plain(expected));
  });

  test("leaves what the saga says of any row whose object was never seen", async () => {
    await fc.assert(
      fc.asyncProperty(past, fc.boolean(), fc.constantFrom(email, "eve@example.com"), async (given, voided, before) => {
        const row: SagaRow = { ...unseen({ uuid, tenantID: "acme", email: before }, LONG_AGO), ...given, voided };
        const stored = await store(row);
        expect(plain(stored)).toEqual(plain(row));
        const now = new Date();
        const after = await bindNewUser(pool, object);
        expect(plain(after)).toEqual(plain(patched(stored, bound(stored, object, now))));
        expect(after).toMatchObject({ touches: stored.touches + 1, version: stored.version + 1 });
        expect(plain(await loadSaga(pool, uuid))).toEqual(plain(after));
      }),
      RUNS,
    );
  });
});

describe("what admission records", () => {
  const candidate = (given: { readonly isNew: boolean; readonly maxUsers?: number }) => ({
    uuid: randomUUID(),
    tenantID: "acme",
    email: `${randomUUID()}@example.com`,
    objectUID: randomUUID(),
    namespace: "tenant-a",
    name: "ada",
    maxUsers: undefined,
    ...given,
  });

  test.each([
    ["one new object", { isNew: true }],
    ["a new one of a tenant with a quota", { isNew: true, maxUsers: 5 }],
    ["a changed one that has no row", { isNew: false }],
  ])("of %s is what the saga says", async (_what, given) => {
    const one = { ...candidate(given), cause: CAUSE };
    expect(await recordCandidates(pool, [one])).toMatchObject([{ inserted: true }]);
    const { uuid, tenantID, email, objectUID: uid, namespace, name } = one;
    const expected = patched(unseen({ uuid, tenantID, email }, new Date()), proposed({ uid, namespace, name }, CAUSE));
    expect(plain(await loadSaga(pool, uuid))).toEqual(plain(expected));
    expect(await loadSaga(pool, uuid)).toMatchObject({ touches: 0, version: 0 });
  });

  test("of a changed one that has a row is what the saga says of any row: it is due", async () => {
    const one = candidate({ isNew: false });
    const { uuid, tenantID, email, objectUID, namespace, name } = one;
    await fc.assert(
      fc.asyncProperty(past, some(fc.constant(CAUSE)), async (given, cause) => {
        const row = {
          ...unseen({ uuid, tenantID, email }, LONG_AGO),
          ...given,
          objectUID,
          namespace,
          name,
          confirmed: true,
        };
        const stored = await store(row);
        const [{ touched: isTouched } = { touched: false }] = await recordCandidates(pool, [{ ...one, cause }]);
        expect(isTouched).toBe(row.state !== "orphaned");
        const after = isTouched ? patched(stored, touched(stored, new Date(), cause)) : stored;
        expect(plain(await loadSaga(pool, uuid))).toEqual(plain(after));
        expect(await loadSaga(pool, uuid)).toMatchObject({ touches: stored.touches + (isTouched ? 1 : 0), version: 0 });
      }),
      RUNS,
    );
  });
});

test("the record of a finished run leaves the run that the saga says, where something was changed meanwhile", async () => {
  await fc.assert(
    fc.asyncProperty(past, fc.nat(9), async (given, generation) => {
      const uuid = randomUUID();
      const { recheck, ...before } = given;
      const row = { ...unseen({ uuid, tenantID: "acme", email: "ada@example.com" }, LONG_AGO), ...before };
      await store({ ...row, confirmed: true, dueAt: LONG_AGO });
      const [claim] = await claimDue(pool, 1, 1);
      if (claim === undefined) throw new Error("nothing was due");
      // After the claim, and therefore unknown to it.
      await pool.query("update user_provision_state set recheck = $1", [
        recheck === undefined ? null : JSON.stringify(recheck),
      ]);
      const handled: NonNullable<SagaRow["handled"]> = { generation, tenantRevision: "r1", key: "works", notes: [] };
      const patch: RowPatch = { run: null, handled };
      expect(await record(pool, claim, { patch, lease: { dueAt: null }, audit: [], events: [] })).toBeDefined();
      const after = await loadSaga(pool, uuid);
      const expected = runAfterFinish({ ...row, recheck }, generation);
      expect(after).toMatchObject({ run: expected, recheck: undefined });
      expect(after?.dueAt === undefined).toBe(expected === undefined);
    }),
    RUNS,
  );
});
