/**
 * Two pairs of the product's processes, many people who come, change and go, and nothing that stays up for long. Then
 * quiet; then everything is counted at the upstreams themselves.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { startPart, stopPart } from "../../stack/index.ts";
import type { Product } from "../../stack/product/index.ts";
import { readSecrets, takeInventory } from "./inventory.ts";
import { broken, type ExpectedPerson } from "./count.ts";
import type { Environment } from "./environment.ts";
import {
  type Act,
  DIALECTS,
  planChaos,
  PROCESSES,
  type ProcessName,
  type RestartedPart,
  type ChaosSize,
  type Wish,
} from "./chaosPlan.ts";
import { makeFixture, type Quarter } from "./fixture.ts";

export interface ChaosResult {
  readonly seed: number;
  readonly seconds: number;
  readonly people: number;
  /** Who shall be there in the end. */
  readonly living: number;
  readonly commits: number;
  readonly removals: number;
  readonly kills: number;
  readonly restarts: number;
  /** From the last act to the first of two counts in which all was right; undefined: never. */
  readonly settledMs: number | undefined;
  readonly failures: readonly string[];
}

/** Longer than the longest pause between two tries that a short outage brings about. */
const PATIENCE_MS = 240_000;
const AGAIN_MS = 3_000;
const LOOK_MS = 2_000;
const SAMPLE_MS = 4_000;
const MOST_SENTENCES = 12;

export async function runChaos(environment: Environment, id: string, size: ChaosSize): Promise<ChaosResult> {
  const plan = planChaos(size);
  const fixture = await makeFixture(environment, id);
  try {
    const quarters = await Promise.all(
      DIALECTS.map(async (dialect) => ({
        quarter: await fixture.quarter(dialect === "new-api" ? "real" : "plain", { dialect }),
        names: plan.people[dialect],
      })),
    );
    const home = (name: string): Quarter => {
      const found = quarters.find(({ names }) => names.includes(name));
      if (found === undefined) throw new Error(`${name} lives nowhere`);
      return found.quarter;
    };
    const pairs = { a: await fixture.start("a"), b: await fixture.start("b") };
    await Promise.all(quarters.map(({ quarter }) => fixture.ready(quarter)));

    const keys = new Map(quarters.map(({ quarter }) => [quarter.id, new Set<string>()]));
    const sample = async (): Promise<void> => {
      for (const { quarter } of quarters) {
        for (const { apiKey } of await readSecrets(fixture.sources(quarter))) keys.get(quarter.id)?.add(apiKey);
      }
    };
    const flux = makeFlux(home);
    const processes = makeProcesses(pairs);
    const parts = makeParts(environment.env.STACK_NAME);
    await during(sample, () => play(plan.acts, { flux, processes, parts }));
    await Promise.all([processes.calm(), parts.calm()]);
    const quiet = Date.now();
    await flux.calm();

    const counted = async (): Promise<string[]> => {
      const all = await Promise.all(
        quarters.map(async ({ quarter, names }) => {
          const expected = expectedAmong(quarter, names, plan.wanted);
          return broken(await takeInventory(fixture.sources(quarter), keys.get(quarter.id)), expected);
        }),
      );
      return all.flat();
    };
    const { failures, holdsSince } = await count(counted, quiet);
    const number = (kind: Act["kind"]): number => plan.acts.filter((act) => act.kind === kind).length;
    return {
      seed: size.seed,
      seconds: size.seconds,
      people: size.people,
      living: plan.wanted.size,
      commits: number("commit"),
      removals: number("remove"),
      kills: number("kill"),
      restarts: number("restart"),
      settledMs: holdsSince,
      failures,
    };
  } finally {
    await fixture.close();
  }
}

function expectedAmong(
  quarter: Quarter,
  names: readonly string[],
  wanted: ReadonlyMap<string, Wish>,
): ReadonlyMap<string, ExpectedPerson> {
  const expected = new Map<string, ExpectedPerson>();
  for (const name of names) {
    const wish = wanted.get(name);
    if (wish === undefined) continue;
    expected.set(name, {
      email: quarter.email(wish.emailLocal),
      enabled: wish.enabled ?? true,
      groups: wish.groups,
      secretName: wish.secret?.name,
    });
  }
  return expected;
}

/** Counts until nothing is wrong twice in a row, or patience ends. */
async function count(
  counted: () => Promise<string[]>,
  since: number,
): Promise<{ failures: readonly string[]; holdsSince: number | undefined }> {
  for (;;) {
    const at = Date.now();
    const failures = await counted().catch((error: unknown) => [`it could not be counted: ${String(error)}`]);
    if (failures.length === 0) {
      await sleep(AGAIN_MS);
      const again = await counted();
      if (again.length === 0) return { failures: [], holdsSince: at - since };
    } else if (at - since > PATIENCE_MS) {
      const more = failures.length - MOST_SENTENCES;
      return {
        failures: [...failures.slice(0, MOST_SENTENCES), ...(more > 0 ? [`and ${more} more`] : [])],
        holdsSince: undefined,
      };
    }
    await sleep(LOOK_MS);
  }
}

/** Runs the work, and the sample over and over beside it; a sample that fails in chaos is no matter. */
async function during(sample: () => Promise<void>, work: () => Promise<void>): Promise<void> {
  const ended = new AbortController();
  const sampling = (async () => {
    while (!ended.signal.aborted) {
      await sample().catch(() => undefined);
      await sleep(SAMPLE_MS, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  })();
  try {
    await work();
  } finally {
    ended.abort();
    await sampling;
  }
}

interface Players {
  readonly flux: ReturnType<typeof makeFlux>;
  readonly processes: ReturnType<typeof makeProcesses>;
  readonly parts: ReturnType<typeof makeParts>;
}

/** Begins each act at its time, and waits for none: a slow one makes no other late. */
async function play(acts: readonly Act[], { flux, processes, parts }: Players): Promise<void> {
  const began = Date.now();
  for (const act of acts) {
    await sleep(Math.max(0, act.atMs - (Date.now() - began)));
    switch (act.kind) {
      case "commit":
        flux.set(act.person, act.wish);
        break;
      case "remove":
        flux.set(act.person, undefined);
        break;
      case "kill":
        processes.kill(act.process, act.backAfterMs);
        break;
      case "restart":
        parts.restart(act.part, act.crash);
        break;
      default:
        act satisfies never;
    }
  }
}

/** Brings each object to what its manifest says, and tries again until it is so: as Flux does at its interval. */
function makeFlux(home: (name: string) => Quarter) {
  const wanted = new Map<string, Wish | undefined>();
  const working = new Map<string, Promise<void>>();

  async function reconcile(name: string): Promise<void> {
    for (;;) {
      const wish = wanted.get(name);
      const done = await bring(name, wish).catch(() => false);
      if (done && wanted.get(name) === wish) return;
      if (!done) await sleep(500);
    }
  }

  async function bring(name: string, wish: Wish | undefined): Promise<boolean> {
    const quarter = home(name);
    if (wish !== undefined) {
      const { emailLocal, ...spec } = wish;
      return quarter.apply(name, { ...spec, email: quarter.email(emailLocal) });
    }
    await quarter.remove(name);
    return true;
  }

  return {
    set(name: string, wish: Wish | undefined): void {
      wanted.set(name, wish);
      if (working.has(name)) return;
      working.set(
        name,
        reconcile(name).finally(() => working.delete(name)),
      );
    },
    /** Resolves when every object is as wanted. */
    async calm(): Promise<void> {
      await Promise.all(working.values());
    },
  };
}

function makeProcesses(pairs: Readonly<Record<string, Product>>) {
  const chains = new Map<ProcessName, Promise<void>>();

  function handle(name: ProcessName): { product: Product; role: "webhook" | "reconciler" } {
    const [pair = "", role] = name.split("-");
    const product = pairs[pair];
    if (product === undefined) throw new Error(`there is no pair ${pair}`);
    return { product, role: role === "webhook" ? "webhook" : "reconciler" };
  }

  /** One that was killed while it started is started again. */
  async function start(name: ProcessName): Promise<void> {
    const { product, role } = handle(name);
    for (;;) {
      try {
        return await product.start(role);
      } catch {
        await sleep(200);
      }
    }
  }

  return {
    kill(name: ProcessName, backAfterMs: number): void {
      const { product, role } = handle(name);
      // At once, also one that is about to start.
      const killed = product.kill(role).catch(() => undefined);
      const before = chains.get(name) ?? Promise.resolve();
      chains.set(
        name,
        Promise.all([before, killed])
          .then(() => sleep(backAfterMs))
          .then(() => start(name)),
      );
    },
    async calm(): Promise<void> {
      await Promise.all(chains.values());
      await Promise.all(PROCESSES.map(start));
    },
  };
}

/** A Postgres that was killed left a file that names its process, which may not be quite buried yet. */
async function startUntilUp(stackName: string, part: RestartedPart): Promise<void> {
  for (let left = 20; ; left -= 1) {
    try {
      return await startPart(stackName, part);
    } catch (error) {
      if (left === 0) throw error;
      await sleep(250);
    }
  }
}

function makeParts(stackName: string) {
  let chain: Promise<void> = Promise.resolve();
  return {
    restart(part: RestartedPart, crash: boolean): void {
      chain = chain.then(async () => {
        await (crash ? stopPart(stackName, part, "SIGKILL") : stopPart(stackName, part));
        await startUntilUp(stackName, part);
      });
    },
    calm: (): Promise<void> => chain,
  };
}
