import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeBreakers } from "../../../src/reconciler/breakers.ts";

beforeEach(() => void vi.useFakeTimers({ now: 100_000 }));
afterEach(() => void vi.useRealTimers());

const ORIGIN = "https://keycloak.example";
const soon = () => vi.advanceTimersByTimeAsync(0);

function stage(answers = false) {
  const seen = { answers, probes: 0, recovered: [] as string[] };
  const breakers = makeBreakers({
    clock: { now: () => Date.now() },
    random: () => 0,
    probe: () => {
      seen.probes += 1;
      return Promise.resolve(seen.answers);
    },
    recovered: (origin) => void seen.recovered.push(origin),
  });
  const fail = async (times: number, begunAt?: number): Promise<void> => {
    for (let n = 0; n < times; n += 1) breakers.failure(ORIGIN, begunAt);
    await soon();
  };
  return Object.assign(seen, breakers, { fail });
}

describe("the breaker of an origin", () => {
  test("opens at the fifth failure in a row, when a probe is not answered either", async () => {
    const at = stage();
    await at.fail(4);
    at.success(ORIGIN);
    await at.fail(4);
    expect(at.ask(ORIGIN)).toBeUndefined();
    await at.fail(1);
    expect(at.ask(ORIGIN)).toEqual(new Date(130_000));
    expect(at.open()).toEqual([ORIGIN]);
    expect(at.probes).toBe(1);
  });

  test("stays closed while somebody answers there: one tenant's realm is not everybody's upstream", async () => {
    const at = stage(true);
    for (let n = 0; n < 20; n += 1) await at.fail(5);
    expect(at.ask(ORIGIN)).toBeUndefined();
    expect(at.recovered).toEqual([]);
    expect(at.probes).toBe(20);
  });

  test("counts no call that began before the last answer: a slow upstream is no silent one", async () => {
    const at = stage();
    await vi.advanceTimersByTimeAsync(10_000);
    at.success(ORIGIN);
    await at.fail(20, 109_999);
    expect(at.ask(ORIGIN)).toBeUndefined();
    await at.fail(5, 110_000);
    expect(at.ask(ORIGIN)).toBeDefined();
  });

  test("closes at an answer while the probe is under way", async () => {
    const at = stage();
    for (let n = 0; n < 5; n += 1) at.failure(ORIGIN);
    at.success(ORIGIN);
    await soon();
    expect(at.ask(ORIGIN)).toBeUndefined();
  });

  test("is probed once a second while it is open, and resumes those behind it once", async () => {
    const at = stage();
    await at.fail(8);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(at.probes).toBe(6);
    at.answers = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(at.probes).toBe(7);
    expect(at.ask(ORIGIN)).toBeUndefined();
    expect(at.recovered).toEqual([ORIGIN]);
  });

  test("is probed no more once it is stopped", async () => {
    const at = stage();
    await at.fail(5);
    at.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(at.probes).toBe(1);
  });
});
