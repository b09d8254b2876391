/** Reviews that no API server sends: whoever reaches the port can write them. */
import { describe, expect, test } from "vitest";
import { answerRequest } from "../../../src/admission/answer.ts";
import { makeRecord } from "../../../src/admission/record.ts";
import { parseReview } from "../../../src/admission/review.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { AdmissionCandidate, CandidateRecord } from "../../../src/store/admissions.ts";
import { knownTenant, type ReviewAnswer, reviewOf, userObject } from "../../support/admission.ts";

const NOTHING: CandidateRecord = { inserted: true, touched: false, heldBy: undefined, full: false };

async function answer(review: object, record: CandidateRecord | "refused" = NOTHING) {
  const recorded: AdmissionCandidate[] = [];
  const parsed = parseReview({ "content-type": "application/json" }, { bytes: Buffer.from(JSON.stringify(review)) });
  if ("refusal" in parsed) return { ...parsed.refusal, allowed: false, recorded, warnings: [] };
  const given = await answerRequest("validate", parsed.request, {
    tenants: { lookup: () => knownTenant(), loaded: true },
    record: async (candidate) => {
      recorded.push(candidate);
      return record;
    },
  });
  const { response } = JSON.parse(given.body) as ReviewAnswer;
  return { ...response, recorded, message: response.status?.message, code: response.status?.code };
}

const spoilt = (change: Record<string, unknown>, options: Parameters<typeof reviewOf>[0] = {}) => {
  const review = reviewOf(options);
  return { ...review, request: { ...review.request, ...change } };
};

describe("a holder in another namespace", () => {
  test("is not named", async () => {
    const { warnings } = await answer(reviewOf(), {
      ...NOTHING,
      heldBy: { namespace: "tenant-victim", name: "the-ceo" },
    });
    expect(warnings).toEqual([
      "ada@example.com still belongs to a TenantUser in another namespace of this tenant: this user waits until it is free",
    ]);
  });

  test("of this one is", async () => {
    const { warnings } = await answer(reviewOf(), { ...NOTHING, heldBy: { namespace: "tenant-a", name: "ada-old" } });
    expect(warnings).toEqual(["ada@example.com still belongs to TenantUser ada-old: this user waits until it is free"]);
  });
});

describe("what no object can have never reaches Postgres", () => {
  const long = `${"a".repeat(50)}@${`${"b".repeat(60)}.`.repeat(200)}example`;
  test.each([
    ["an address of 12 kB", reviewOf({ spec: { email: long } })],
    [
      "one with a NUL",
      reviewOf({
        spec: { email: "a\u0000@example.com" },
        operation: "UPDATE",
        oldObject: userObject({ spec: { email: "a\u0000@example.com" } }),
      }),
    ],
    ["a name of 300 characters", reviewOf({ name: "a".repeat(300), spec: { email: "ada@example.com" } })],
    ["a name with a slash", reviewOf({ name: "a/b", spec: { email: "ada@example.com" } })],
    ["a namespace of 64 characters", spoilt({ namespace: "a".repeat(64) })],
    ["a namespace with a NUL", spoilt({ namespace: "tenant-a\u0000" })],
    ["no namespace", spoilt({ namespace: undefined })],
    ["an object of another namespace than the request's", spoilt({ namespace: "tenant-b" })],
    ["an object's uid that is none", reviewOf({ metadata: { uid: "7" } })],
    ["a uid of 1 MB", spoilt({ uid: "u".repeat(1_000_000) })],
  ])("%s", async (_what, review) => {
    expect((await answer(review)).recorded).toEqual([]);
  });

  test("userInfo decides nothing, whatever it is", async () => {
    for (const userInfo of [undefined, null, 7, { username: "system:admin", groups: ["system:masters"] }]) {
      const { allowed, recorded } = await answer(spoilt({ userInfo }));
      expect([allowed, recorded.length]).toEqual([true, 1]);
    }
  });
});

test("a denial has an end, however many mistakes there are and however long they are", async () => {
  const names = Array.from({ length: 64 }, (_, n) => ` ${n}${"x".repeat(250)}`);
  const attributes = { [`sme_${"y".repeat(1_000_000)}`]: ["v"] };
  const many = await answer(reviewOf({ spec: { groups: names, realmRoles: names, attributes } }));
  expect(many.allowed).toBe(false);
  expect(String(many.message).length).toBeLessThan(12_000);
  expect(many.message).toMatch(/; and 110 more$/);
});

describe("what Postgres says of one record is nobody else's trouble", () => {
  const recorder = (error: unknown) => {
    let writes = 0;
    const record = makeRecord({
      clock: { now: () => 0 },
      log: silentLog,
      write: async (candidates) => {
        writes += 1;
        if (candidates.some(({ name }) => name === "bad")) throw error;
        return candidates.map(() => NOTHING);
      },
    });
    const of = (name: string): AdmissionCandidate => ({
      uuid: undefined,
      tenantID: "acme",
      email: "ada@example.com",
      objectUID: "7b1f2c3d-0000-4000-8000-000000000001",
      namespace: "tenant-a",
      name,
      isNew: true,
      maxUsers: undefined,
    });
    return { record, of, writes: () => writes };
  };
  const withCode = (code: string) => Object.assign(new Error("no"), { code });

  test.each([
    "54000",
    "54001",
    "54023",
    "21000",
    "22001",
    "22021",
    "22P05",
    "23505",
    "23514",
    "40001",
    "40P01",
    "44000",
    "0A000",
    "P0001",
    "55P03",
  ])("%s", async (code) => {
    const { record, of } = recorder(withCode(code));
    expect(await record(of("bad"))).toBe("refused");
    expect(await record(of("good"))).toEqual(NOTHING);
    expect(await Promise.all([record(of("good")), record(of("bad")), record(of("good"))])).toEqual([
      NOTHING,
      "refused",
      NOTHING,
    ]);
  });

  test.each([
    "08006",
    "25006",
    "28P01",
    "3D000",
    "42501",
    "42P01",
    "53100",
    "53300",
    "55000",
    "57014",
    "57P03",
    "58030",
    "XX000",
    "ECONNREFUSED",
    "EPIPE",
    "ETIMEDOUT",
  ])("%s is: nobody waits for it for a while", async (code) => {
    const { record, of, writes } = recorder(withCode(code));
    expect(await record(of("bad"))).toBeUndefined();
    expect(await record(of("good"))).toBeUndefined();
    expect(writes()).toBe(1);
  });

  test("says so in words that do not blame the database", async () => {
    expect((await answer(reviewOf(), "refused")).warnings).toEqual([
      "the request was not recorded at once: it is carried out when the service next sees the object",
    ]);
  });
});
