/**
 * The reconciler as src/main.ts runs it, with points between it and its upstreams: it dies where it is told to, and asks
 * for fault where it is told to. Started by the crash tests with a channel to them; it is no part of what is shipped.
 */
import { parseConfig } from "../../src/lib/config.ts";
import { makeLifecycle } from "../../src/lib/lifecycle.ts";
import { makeLog } from "../../src/lib/log.ts";
import { runReconciler } from "../../src/roles/reconciler.ts";
import { aroundFetch, makeInterceptors, type Points } from "./interceptors.ts";
import type { Happening, Point } from "./effects.ts";
import { FIRST_ORDER, ONLY_NAMESPACE, ONLY_TENANT, type Order, type Report } from "./orders.ts";

const counts = new Map<string, number>();
let order: Order = { kind: "count" };
let faulty: PromiseWithResolvers<void> | undefined;

function report(said: Report): void {
  process.send?.(said);
}

function take(next: Order): void {
  if (next.kind === "go") return faulty?.resolve();
  counts.clear();
  order = next;
}

/** Whether it is the counted time. */
function isTheTime(name: string, nth: number): boolean {
  const count = (counts.get(name) ?? 0) + 1;
  counts.set(name, count);
  return count === nth;
}

function pass(point: Point): void {
  if (order.kind === "die" && order.at === point && isTheTime(point, order.nth)) process.kill(process.pid, "SIGKILL");
  if (order.kind === "stop" && order.at === point && isTheTime(point, 1)) process.kill(process.pid, "SIGSTOP");
  report({ kind: "at", point });
}

/** True: it is there, and must be reported over when the call has ended. */
async function fault(happening: Happening): Promise<boolean> {
  if (order.kind !== "fault" || order.on !== happening || !isTheTime(happening, order.nth)) return false;
  faulty = Promise.withResolvers<void>();
  report({ kind: "faultWanted" });
  await faulty.promise;
  return true;
}

const points: Points = {
  async around(happening, act) {
    pass(`before:${happening}`);
    const inFault = await fault(happening);
    try {
      const result = await act();
      pass(`after:${happening}`);
      return result;
    } finally {
      if (inFault) report({ kind: "faultOver" });
    }
  },
  unnamed: (what) => report({ kind: "unnamed", what }),
};

const first = process.env[FIRST_ORDER];
if (first !== undefined) take(JSON.parse(first) as Order);
process.on("message", (said) => take(said as Order));
process.once("disconnect", () => process.exit(0));

const config = parseConfig("reconciler", process.env);
const log = makeLog({ level: config.logLevel, role: "reconciler" });
const lifecycle = makeLifecycle({ log, deadlineMs: 5_000, signals: process, exit: (code) => process.exit(code) });
aroundFetch(points);
const lens = { tenant: process.env[ONLY_TENANT] ?? "", namespace: process.env[ONLY_NAMESPACE] ?? "" };
process.exit(await runReconciler(config, log, lifecycle, makeInterceptors(points, lens)));
