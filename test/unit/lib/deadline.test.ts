import { getEventListeners } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";

import { withDeadline } from "../../../src/lib/deadline.ts";

const untilCut = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });

test("work that ends in time gives its value, and nothing is left on the caller's signal", async () => {
  const caller = new AbortController();
  expect(await withDeadline(caller.signal, 10_000, () => Promise.resolve(7))).toBe(7);
  await expect(withDeadline(caller.signal, 10_000, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(getEventListeners(caller.signal, "abort")).toEqual([]);
});

test("work that takes too long is cut with a TimeoutError", async () => {
  const { signal } = new AbortController();
  await expect(withDeadline(signal, 20, untilCut)).rejects.toMatchObject({ name: "TimeoutError" });
});

test("work is cut with its caller's reason, be it later or before it began", async () => {
  const caller = new AbortController();
  const working = withDeadline(caller.signal, 10_000, untilCut);
  await sleep(5);
  caller.abort(new Error("stopping"));
  await expect(working).rejects.toThrow("stopping");
  await expect(withDeadline(caller.signal, 10_000, untilCut)).rejects.toThrow("stopping");
});

test("nothing that a service does again and again joins its long-lived signal by AbortSignal.any", () => {
  const src = join(import.meta.dirname, "../../../src");
  // A session of Postgres, a connection to NATS, a pause of one watch: these signals end with what they are for. The others
  // are programs that end.
  const seldom = /^(reconciler\/engine|bus\/consume|kube\/reconnectProbe|lib\/deadline)\.ts$|^(plugin|cli)\//;
  const found = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !seldom.test(file))
    .filter((file) => readFileSync(join(src, file), "utf8").includes("AbortSignal.any("));
  expect(found).toEqual([]);
});
