import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import type { AuditView } from "../../../src/api/operator.ts";
import { journey } from "../../../src/plugin/journey.ts";
import { healthOf } from "../../../src/plugin/userView.ts";
import { nextText, statusText } from "../../../src/plugin/status.ts";
import { inColour, plainly } from "../../../src/plugin/text.ts";
import { ADA } from "../../support/builders.ts";
import { NOW, personWith, READY, sagaWith, stalledBy, waitingFor } from "./people.ts";

const audit = (at: string, step: string, action: string, target?: string, detail?: AuditView["detail"]): AuditView => ({
  at: `2026-05-01T${at}Z`,
  uuid: ADA,
  step,
  action,
  target,
  detail,
});
const told = (moments: ReturnType<typeof journey>) =>
  moments.map(({ at, what, text }) => [at.slice(11, 19), what, text]);

describe("a journey", () => {
  test("is in order, from whatever told of it", () => {
    const done = { at: "2026-05-01T11:00:02.000Z", state: "done" as const, reason: "Ready", message: "All was made." };
    const moments = journey(
      {
        person: personWith({ conditions: [READY] }),
        saga: sagaWith({ history: [done] }),
        audit: [
          audit("11:00:01.000", "keycloak", "created", "kc-1"),
          audit("11:00:01.500", "newapi", "created", "na-1"),
          audit("11:59:00.000", "operator", "purge", "ada@example.com", { by: "grace", reason: "left" }),
        ],
        events: [
          { at: "2026-05-01T11:00:02Z", type: "Normal", reason: "Ready", message: "The key opens the gateway." },
          { at: "2026-05-01T11:30:00Z", type: "Warning", reason: "QuotaExhausted", message: "Spent." },
        ],
      },
      NOW,
    );
    expect(told(moments)).toEqual([
      ["11:00:00", "committed", "the object is in the cluster"],
      ["11:00:01", "keycloak", "created kc-1"],
      ["11:00:01", "newapi", "created na-1"],
      ["11:00:02", "Ready", "All was made."],
      ["11:30:00", "QuotaExhausted", "Spent."],
      ["11:59:00", "purge", "ordered by grace: left"],
    ]);
  });

  test("tells of tries, the last error, and the next attempt", () => {
    const lastError = {
      step: "keycloak" as const,
      class: "transient" as const,
      code: "UpstreamUnavailable",
      upstreamStatus: 503,
      message: "keycloak answered 503.",
      at: "2026-05-01T11:59:50.000Z",
    };
    const status = { retryCount: 3, nextRetryAt: "2026-05-01T12:00:04.000Z", lastError };
    const person = personWith({ status, conditions: waitingFor("UpstreamUnavailable") });
    const moments = journey({ person, saga: undefined, audit: [], events: [] }, NOW);
    expect(told(moments).slice(1)).toEqual([
      ["11:59:50", "keycloak", "attempt 3 failed (503): keycloak answered 503."],
      ["12:00:04", "keycloak", "attempt 4, or as soon as the upstream answers"],
    ]);
    expect(nextText(person, undefined, healthOf(person), NOW)).toBe(
      "keycloak: attempt 4, or as soon as the upstream answers, in 4 s.",
    );
  });

  test("without the state store is told by the object alone", () => {
    const history = [
      { at: "2026-05-01T11:00:02.000Z", state: "failed" as const, reason: "NotAllowed", message: "No." },
    ];
    const person = personWith({ status: { history }, conditions: stalledBy("NotAllowed", "No.") });
    const moments = journey({ person, saga: undefined, audit: [], events: [] }, NOW);
    expect(moments.at(-1)).toMatchObject({ kind: "failed", what: "NotAllowed", text: "No." });
  });

  test("of somebody who is gone knows when the rest is undone", () => {
    const saga = sagaWith({ state: "deleting", ownerless: "grace", purgeAt: "2026-05-08T12:00:00.000Z" });
    const moments = journey({ person: undefined, saga, audit: [], events: [] }, NOW);
    expect(moments).toMatchObject([{ kind: "next", what: "purge" }]);
  });

  test("never promises what lies in the past", () => {
    const status = { nextRetryAt: "2026-05-01T11:00:00.000Z" };
    const person = personWith({ status, conditions: waitingFor("UpstreamUnavailable") });
    expect(
      journey({ person, saga: undefined, audit: [], events: [] }, NOW).filter(({ kind }) => kind === "next"),
    ).toEqual([]);
  });
});

describe("what happens next", () => {
  const next = (person: ReturnType<typeof personWith>) => nextText(person, undefined, healthOf(person), NOW);
  test.each([
    ["Ready", personWith({ conditions: [READY] }), /^Nothing. The reconciler checks again/],
    ["behind", personWith({ metadata: { generation: 2 }, conditions: [READY] }), /newer version/],
    ["stalled", personWith({ conditions: stalledBy("NotAllowed") }), /^Nothing until the file, .*tenantuser why ada/],
    ["waiting", personWith({ conditions: waitingFor("EmailInUse") }), /^It continues automatically/],
    ["unseen", personWith(), /The reconciler observes it/],
    ["leaving", personWith({ metadata: { deletionTimestamp: "2026-05-01T11:59:00Z" } }), /10 minutes/],
    [
      "suspended",
      personWith({ conditions: [READY, { type: "Suspended", reason: "Suspended" }] }),
      /until suspend ends/,
    ],
  ])("to somebody %s", (_name, person, expected) => expect(next(person)).toMatch(expected));

  test("to a key that is to be retired", () => {
    const status = { key: { previousUntil: "2026-05-01T12:30:00.000Z" } };
    expect(next(personWith({ status, conditions: [READY] }))).toBe(
      "newapi: the key before the last rotation is removed, in 30 min.",
    );
  });
});

test("status shows phase, steps, journey and next, in plain text when piped and in colour on a terminal", () => {
  const person = personWith({
    status: { state: "done", keycloak: { userID: "kc-1" } },
    conditions: [READY, { type: "KeycloakReady", message: "In place." }],
  });
  const moments = journey({ person, saga: undefined, audit: [], events: [] }, NOW);
  const glance = {
    person,
    saga: undefined,
    journey: moments,
    withoutStore: "Only what stands on the object is shown.",
  };
  const text = statusText(glance, NOW, plainly);
  expect(text).toBe(
    `ada  ada@example.com  in tenant-a
Phase     Ready, ready since 2026-05-01 11:30:00Z (30 min ago)
          The key opens the gateway.
State     done, uuid ${ADA}
Keycloak  Ready: In place. kc-1

Journey (UTC)
  2026-05-01 11:00:00  * committed      the object is in the cluster

Next      Nothing. The reconciler checks again when the file, the Tenant or an upstream changes.
Note      Only what stands on the object is shown.
`,
  );
  expect(stripVTControlCharacters(statusText(glance, NOW, inColour))).toBe(text);
});
