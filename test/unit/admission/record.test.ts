import { describe, expect, test } from "vitest";
import { makeRecord } from "../../../src/admission/record.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { AdmissionCandidate, CandidateRecord } from "../../../src/store/admissions.ts";

const CANDIDATE: AdmissionCandidate = {
  uuid: "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90",
  tenantID: "acme",
  email: "ada@example.com",
  objectUID: "7b1f2c3d-0000-4000-8000-000000000001",
  namespace: "tenant-a",
  name: "ada",
  isNew: true,
  maxUsers: undefined,
};
const RECORD: CandidateRecord = { inserted: true, touched: false, heldBy: undefined, full: false };

function setup(error?: Error) {
  const world = { now: 1_000_000, error, writes: 0 };
  const record = makeRecord({
    clock: { now: () => world.now },
    log: silentLog,
    write: async (candidates) => {
      world.writes++;
      if (world.error) throw world.error;
      return candidates.map(() => RECORD);
    },
  });
  return { world, record };
}

const withCode = (code: string) => Object.assign(new Error("no"), { code });

describe("record", () => {
  test.each([
    ["no connection", new Error("timeout exceeded when trying to connect")],
    ["a refused one", withCode("ECONNREFUSED")],
    ["a shutdown", withCode("57P01")],
    ["a time-out", withCode("57014")],
  ])("after %s nobody waits for Postgres for 5 s", async (_what, error) => {
    const { world, record } = setup(error);
    expect(await record(CANDIDATE)).toBeUndefined();
    world.error = undefined;
    world.now += 4_999;
    expect(await record(CANDIDATE)).toBeUndefined();
    expect(world.writes).toBe(1);
    world.now += 1;
    expect(await record(CANDIDATE)).toEqual(RECORD);
  });

  test.each(["22021", "23514", "55P03"])("a failure of this one row (%s) is nobody else's", async (code) => {
    const { world, record } = setup(withCode(code));
    expect(await record(CANDIDATE)).toBe("refused");
    world.error = undefined;
    expect(await record(CANDIDATE)).toEqual(RECORD);
  });

  test("whoever waits behind a statement that found no Postgres is answered with it", async () => {
    const { world, record } = setup(withCode("ECONNREFUSED"));
    expect(await Promise.all([record(CANDIDATE), record(CANDIDATE), record(CANDIDATE)])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(world.writes).toBe(1);
  });

  test("those who come while a statement is under way share the next one", async () => {
    const { world, record } = setup();
    expect(await Promise.all([record(CANDIDATE), record(CANDIDATE), record(CANDIDATE)])).toEqual([
      RECORD,
      RECORD,
      RECORD,
    ]);
    expect(world.writes).toBe(2);
  });
});
