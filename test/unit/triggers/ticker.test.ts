import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { makeTicker } from "../../../src/triggers/ticker.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { silentLog } from "../../../src/lib/log.ts";

const PERIOD = 30_000;
const refuse = () => Promise.reject(new TransientError({ code: "UpstreamUnavailable", message: "no" }));

function frame(over: Partial<Bus> = {}) {
  const sent: number[] = [];
  let looks = 0;
  const bus: Bus = {
    connected: () => true,
    publishHeartbeat: (now) => Promise.resolve(void sent.push(now)),
    kick: () => {},
    publishEvent: () => Promise.resolve(),
    consumeHeartbeat: () => {},
    lastProgress: () => Date.now(),
    close: () => Promise.resolve(),
    ...over,
  };
  const notify = (): void => void (looks += 1);
  const ticker = makeTicker({ bus, notify, clock: { now: () => Date.now() }, log: silentLog, periodMs: PERIOD });
  return { ticker, sent, looks: () => looks };
}

describe("the ticker", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("sends a heartbeat at once and then one a period, until it is stopped", async () => {
    const { ticker, sent, looks } = frame();
    await ticker.start();
    await vi.advanceTimersByTimeAsync(2 * PERIOD);
    expect(sent).toHaveLength(3);
    expect(looks()).toBe(0);
    await ticker.stop();
    await vi.advanceTimersByTimeAsync(2 * PERIOD);
    expect(sent).toHaveLength(3);
  });

  it("looks itself while NATS is away, and shows progress all the same", async () => {
    const { ticker, sent, looks } = frame({ connected: () => false });
    await ticker.start();
    await vi.advanceTimersByTimeAsync(PERIOD);
    expect(sent).toEqual([]);
    expect(looks()).toBe(2);
    expect(ticker.lastProgress()).toBe(Date.now());
    await ticker.stop();
  });

  it("looks itself when the heartbeat is not taken", async () => {
    const { ticker, looks } = frame({ publishHeartbeat: refuse });
    await ticker.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(looks()).toBe(1);
    await ticker.stop();
  });

  it("looks itself when our consumer has heard nothing for two periods", async () => {
    const begin = Date.now();
    const { ticker, looks } = frame({ lastProgress: () => begin });
    await ticker.start();
    await vi.advanceTimersByTimeAsync(2 * PERIOD);
    expect(looks()).toBe(0);
    await vi.advanceTimersByTimeAsync(PERIOD);
    expect(looks()).toBe(1);
    await ticker.stop();
  });
});
