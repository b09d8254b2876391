import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { makeLifecycle, type Part } from "../../../src/lib/lifecycle.ts";
import { silentLog } from "../../../src/lib/log.ts";

function frame(deadlineMs = 1000) {
  const signals = new EventEmitter();
  const exits: number[] = [];
  const lifecycle = makeLifecycle({ log: silentLog, deadlineMs, signals, exit: (code) => exits.push(code) });
  const calls: string[] = [];
  const part = (name: string, over: Partial<Part> = {}): Part => ({
    name,
    start: () => void calls.push(`+${name}`),
    stop: () => void calls.push(`-${name}`),
    ...over,
  });
  return { signals, exits, lifecycle, calls, part };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("the lifecycle", () => {
  it("starts in order and stops in reverse at SIGTERM, with its signal aborted first", async () => {
    const { signals, lifecycle, calls, part } = frame();
    const seen: boolean[] = [];
    const running = lifecycle.run([
      part("a"),
      part("b", { stop: () => void seen.push(lifecycle.signal.aborted) }),
      part("c"),
    ]);
    await turn();
    expect(calls).toEqual(["+a", "+b", "+c"]);
    signals.emit("SIGTERM", "SIGTERM");
    expect(await running).toBe(0);
    expect(calls).toEqual(["+a", "+b", "+c", "-c", "-a"]);
    expect(seen).toEqual([true]);
    expect(signals.eventNames()).toEqual([]);
  });

  it("stops what was started when a part cannot start, and answers 1", async () => {
    const { lifecycle, calls, part } = frame();
    const failing = part("b", { start: () => Promise.reject(new Error("port taken")) });
    expect(await lifecycle.run([part("a"), failing, part("c")])).toBe(1);
    expect(calls).toEqual(["+a", "-b", "-a"]);
  });

  it("does not wait longer than the deadline, yet tells every part", async () => {
    const { signals, lifecycle, calls, part } = frame(20);
    const running = lifecycle.run([part("a"), part("stuck", { stop: () => new Promise(() => {}) })]);
    await turn();
    signals.emit("SIGINT", "SIGINT");
    expect(await running).toBe(1);
    expect(calls).toContain("-a");
  });

  it("leaves at once at a second signal", async () => {
    const { signals, lifecycle, exits, part } = frame(20);
    const running = lifecycle.run([part("stuck", { stop: () => new Promise(() => {}) })]);
    await turn();
    signals.emit("SIGTERM", "SIGTERM");
    signals.emit("SIGTERM", "SIGTERM");
    expect(exits).toEqual([1]);
    await running;
  });

  it.each(["uncaughtException", "unhandledRejection"])("exits 1 at an %s", async (event) => {
    const { signals, lifecycle, exits, part } = frame();
    const running = lifecycle.run([part("a")]);
    await turn();
    signals.emit(event, new Error("boom"));
    expect(exits).toEqual([1]);
    lifecycle.stop("end of test");
    await running;
  });
});
