/** One case: a scenario, cut at one point or with one answer lost, and what must hold in the end. */
import type { Happening, Point } from "./effects.ts";
import { upstreamOf } from "./effects.ts";
import type { Environment } from "./environment.ts";
import { type GatewayKind, makeSandbox, type Sandbox } from "./sandbox.ts";
import { inTheEnd } from "./invariants.ts";
import type { Person } from "../support/tenant.ts";
import type { Scenario } from "./scenarios.ts";
import type { Fault } from "./faults.ts";

export type Cut =
  | { readonly kind: "none" }
  | { readonly kind: "kill"; readonly at: Point; readonly nth: number }
  | { readonly kind: "lost"; readonly on: Happening; readonly nth: number; readonly fault: Fault };

export interface Case {
  readonly scenario: Scenario;
  readonly gateway: GatewayKind;
  readonly cut: Cut;
}

export interface Outcome {
  readonly case: Case;
  /** Undefined: what was promised held. */
  readonly failure: string | undefined;
  /** From the restart, or from the act, to the moment when it held. */
  readonly settledMs: number;
  /** Points of the act itself and how often each was passed; complete only without a cut. */
  readonly passed: ReadonlyMap<Point, number>;
  /** The moment that was chosen never came this time, so nothing was tried: how often a point is passed may differ. */
  readonly hasMissed: boolean;
  readonly unnamed: readonly string[];
}

/** Longer than any lease, deadline and pause between two tries. */
const PATIENCE_MS = 120_000;
const COMES_THERE_MS = 90_000;
const WATCH_MS = 100;
const NOBODY: Person = { uuid: "", keycloakID: "", accountID: "", secretName: "", apiKey: "" };

export function describe({ scenario, gateway, cut }: Case): string {
  const what = gateway === "admin-v1" ? scenario.name : `${scenario.name} (${gateway})`;
  const times = cut.kind !== "none" && cut.nth > 1 ? ` (time ${cut.nth})` : "";
  switch (cut.kind) {
    case "none":
      return `${what}, undisturbed`;
    case "kill":
      return `${what}, killed ${cut.at.replace(":", " ")}${times}`;
    case "lost":
      return `${what}, ${cut.fault} at ${cut.on}${times}`;
    default:
      return cut satisfies never;
  }
}

export async function runCase(environment: Environment, id: string, one: Case): Promise<Outcome> {
  let sandbox: Sandbox | undefined;
  let settledMs = 0;
  let failure: string | undefined;
  let hasMissed = false;
  const passed = new Map<Point, number>();
  try {
    const { holds, wishes = {} } = one.scenario;
    sandbox = await makeSandbox(environment, id, wishes, { doors: one.cut.kind === "lost", gateway: one.gateway });
    const acted = await act(sandbox, one);
    const { began, before, watch } = acted;
    // Also where the moment never came: a process that hangs does not come there either.
    await inTheEnd(() => holds(requireSandbox(sandbox), before), PATIENCE_MS);
    await watch.end();
    settledMs = Date.now() - began;
    failure = acted.neverCame ?? (one.cut.kind === "lost" && sandbox.lost() === 0 ? "no answer was lost" : undefined);
    hasMissed = failure !== undefined;
  } catch (error) {
    failure = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  }
  for (const [point, count] of sandbox?.passed() ?? []) passed.set(point, count);
  const unnamed = sandbox?.unnamed() ?? [];
  await sandbox?.close().catch((error: unknown) => (failure ??= `closing: ${String(error)}`));
  return { case: one, failure, hasMissed, settledMs, passed, unnamed };
}

interface Acted {
  readonly began: number;
  readonly before: Person;
  readonly watch: Watch;
  /** The process did not come to the point where it was to be killed, and runs on. */
  readonly neverCame?: string;
}

async function act(sandbox: Sandbox, { scenario, cut }: Case): Promise<Acted> {
  const order =
    cut.kind === "kill"
      ? ({ kind: "die", at: cut.at, nth: cut.nth } as const)
      : cut.kind === "lost"
        ? ({ kind: "fault", on: cut.on, nth: cut.nth } as const)
        : ({ kind: "count" } as const);
  if (cut.kind === "lost") sandbox.fault(upstreamOf(cut.on), cut.fault);
  let before = NOBODY;
  if (scenario.before === undefined) {
    sandbox.start(order);
  } else {
    sandbox.start();
    before = await scenario.before(sandbox);
    sandbox.order(order);
  }
  let began = Date.now();
  const watch = keepWatch(sandbox, scenario, before);
  await scenario.act(sandbox, before);
  if (cut.kind === "kill") {
    if (!(await inTime(sandbox.ended()))) {
      sandbox.order({ kind: "count" });
      return { began, before, watch, neverCame: `the process never came ${cut.at.replace(":", " ")}` };
    }
    began = Date.now();
    sandbox.start();
  }
  return { began, before, watch };
}

interface Watch {
  /** Rejects with the first thing that did not hold in between. */
  end(): Promise<void>;
}

/** What must hold at every moment, asked again and again while the case continues. */
function keepWatch(sandbox: Sandbox, { always }: Scenario, before: Person): Watch {
  if (always === undefined) return { end: () => Promise.resolve() };
  let over = false;
  const watching = (async (): Promise<unknown> => {
    while (!over) {
      try {
        await always(sandbox, before);
      } catch (error) {
        return error;
      }
      await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    }
    return undefined;
  })();
  return {
    async end() {
      over = true;
      const broken = await watching;
      if (broken !== undefined) throw broken;
    },
  };
}

/** Whether it happened before anybody would give it up. */
async function inTime(happening: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), COMES_THERE_MS);
  });
  try {
    return await Promise.race([happening.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

function requireSandbox(sandbox: Sandbox | undefined): Sandbox {
  if (sandbox === undefined) throw new Error("there is no sandbox");
  return sandbox;
}
