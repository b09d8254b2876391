import { expect, test, vi } from "vitest";

import { silentLog } from "../../../src/lib/log.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { makeNotifier } from "../../../src/lib/notifier.ts";
import { type EngineDeps, makeEngine } from "../../../src/reconciler/engine.ts";
import { isOutage, makeTurns } from "../../../src/reconciler/turns.ts";

const coded = (code: string): Error => Object.assign(new Error("failed"), { code });

test.each([
  ["a refused connection", coded("ECONNREFUSED"), true],
  ["a server that restarts", coded("57P01"), true],
  ["too many connections", coded("53300"), true],
  ["a connection that broke", new Error("Connection terminated unexpectedly"), true],
  ["a pool that is used up", new Error("timeout exceeded when trying to connect"), true],
  ["what an upstream answered", new TransientError({ code: "UpstreamUnavailable", message: "away" }), true],
  ["an address that cannot be read", new TypeError("Invalid URL"), false],
  ["a row that spoils the statement", coded("22021"), false],
  ["a statement that does not fit the schema", coded("42703"), false],
])("%s: somebody else's outage is %s", (_what, error, expected) => {
  expect(isOutage(error)).toBe(expected);
});

test("a loop that fails every turn by its own fault stands still; an outage does not make it look dead", () => {
  let now = 0;
  const turns = makeTurns({ now: () => now });
  now = 1_000;
  turns.failed(new TypeError("Invalid URL"));
  expect(turns.lastProgress()).toBe(0);
  turns.failed(coded("ECONNREFUSED"));
  expect(turns.lastProgress()).toBe(1_000);
  now = 2_000;
  turns.done();
  expect(turns.lastProgress()).toBe(2_000);
});

test.each([
  ["stands still while each of its polls throws", new TypeError("Invalid URL"), 0],
  ["is alive while Postgres is away", coded("ECONNREFUSED"), 60_000],
])("the engine %s", async (_what, error, expected) => {
  let now = 0;
  const poll = vi.fn<() => boolean>(() => {
    now = 60_000;
    throw error;
  });
  const due = makeNotifier();
  const deps: Partial<EngineDeps> = { due, workers: 8, ready: poll, clock: { now: () => now }, log: silentLog };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it comes no further than to its first question
  const engine = makeEngine(deps as EngineDeps);
  void engine.start();
  await vi.waitFor(() => expect(poll).toHaveBeenCalled());
  await new Promise((resolve) => setImmediate(resolve));
  expect(engine.lastProgress()).toBe(expected);
  await engine.stop();
});
