/** The limit at an origin against a server that is as slow as an overloaded Keycloak, on real time. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/lib/clock.ts";
import { withDeadline } from "../../../src/lib/deadline.ts";
import { isOverload, isSagaError } from "../../../src/lib/errors.ts";
import { call } from "../../../src/lib/http.ts";
import { makeOriginLimits, type Outcome } from "../../../src/reconciler/originLimits.ts";

const never = new AbortController().signal;
const judge = (error: unknown): Outcome => (isSagaError(error) && isOverload(error) ? "overloaded" : "neither");
const noWord = (): Promise<void> => Promise.resolve();

/** As an overloaded Keycloak: one call after the other, those that nobody waits for any more too. */
async function serveInOrder(everyMs: number): Promise<{ server: Server; url: string; served: () => number }> {
  let busy = Promise.resolve();
  let served = 0;
  const server = createServer((_request, response) => {
    busy = busy
      .then(() => sleep(everyMs))
      .then(() => {
        served += 1;
        response.end("{}");
      });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    server,
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    served: () => served,
  };
}

/** A tenth of everything: ten calls a second in order, each of which must be answered within one. */
const TENTH = { everyMs: 100, deadlineMs: 1_000, quickMs: 500 };

// One after the other: on one event loop each would be late for the other.
describe("an upstream that does one call a second", () => {
  test.each([
    ["one call each", 1, 90],
    ["three calls each", 3, 40],
  ])("is worked with at its own pace: %s", async (_name, calls, people) => {
    const { server, url, served } = await serveInOrder(TENTH.everyMs);
    const limits = makeOriginLimits({ clock: systemClock, quickMs: TENTH.quickMs });
    const begun = Date.now();
    const late: number[] = [];
    const done: number[] = [];
    const one = async (n: number): Promise<void> => {
      const act = async (): Promise<void> => {
        for (let at = 0; at < calls; at += 1) {
          await withDeadline(never, TENTH.deadlineMs, (cut) => call("newapi", { method: "GET", url }, cut));
        }
      };
      for (let attempt = 0; ; attempt += 1) {
        try {
          const tenantID = `t${n % 2}`;
          await limits.run({ origin: url, tenantID, whileWaiting: noWord, act, judge }, never);
          done.push(Date.now() - begun);
          return;
        } catch {
          late.push(Date.now() - begun);
          await sleep(100 * 2 ** Math.min(attempt, 5));
        }
      }
    };
    await Promise.all(Array.from({ length: people }, (_person, n) => one(n)));
    server.closeAllConnections();
    server.close();
    expect(done).toHaveLength(people);
    // It takes a while to learn of it, and to let what was abandoned be over.
    expect(late.filter((ms) => ms > 4_000)).toEqual([]);
    // From then on nearly everything that it does is of use.
    expect(served()).toBeLessThan(people * calls + 60);
    const pace = (people * calls * TENTH.everyMs) / (done.at(-1) ?? Number.POSITIVE_INFINITY);
    expect(pace).toBeGreaterThan(0.5);
  });
});
