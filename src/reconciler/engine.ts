import type { Pool } from "pg";
import { RETRIES } from "../lib/backoff.ts";
import { type Clock, pause } from "../lib/clock.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import type { Notifier } from "../lib/notifier.ts";
import { type Claim, claimDue, earliestDueMs, giveBackLost, lookAfterLate } from "../store/claims.ts";
import type { WorkerSession } from "../store/workerSession.ts";
import { type ClaimDeps, type ClaimResult, processClaim } from "./claim.ts";
import type { OriginLimits } from "./originLimits.ts";
import { loopPart } from "./loops.ts";
import { makeTurns } from "./turns.ts";

/** However far the next due row is, poll at least this often: the heartbeat may be lost. */
const LONGEST_SLEEP_MS = 30_000;

const UNTIL_READY_MS = 100;
const BUSY_MS = 250;
/** For a call that was cut off to be over at its upstream too. */
const LANDS_MS = 1_000;

export interface EngineDeps extends Omit<ClaimDeps, "clusterID" | "cluster"> {
  readonly originLimits: Pick<OriginLimits, "run" | "waiting">;
  readonly pool: Pool;
  /** What the engine sleeps on: whoever makes a row due notifies it. */
  readonly due: Notifier;
  readonly cluster: ClaimDeps["cluster"];
  readonly clusterID: () => Promise<string>;
  /** How many claims are worked on at once. */
  readonly workers: number;
  /** Whether the Tenants are known: before that, "no Tenant" would be said of everybody. */
  readonly ready: () => boolean;
  readonly openSession: () => Promise<WorkerSession>;
  /** Postgres answers again. */
  readonly recovered: () => void;
  /** The most claims at once of tenants that have to wait for an upstream anyway: 1, or 0 for no more now. */
  readonly held: () => ReadonlyMap<string, 0 | 1>;
  /** For metrics: a claim ended; how long it took, and how long the row had been due before. */
  readonly reconciled: (end: { readonly result: ClaimResult; readonly ms: number; readonly queuedMs: number }) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Engine extends LoopPart {
  /** The number of this process's worker session; undefined while there is none. */
  owner(): number | undefined;
  /** How many claims are worked on now. */
  activeWorkers(): number;
  /** Postgres does not know this session any more, though its connection seems to live: its work ends, another is opened. */
  disown(owner: number): void;
  /** Milliseconds since the epoch of the last poll that went well, or that only an outage has failed. */
  lastProgress(): number;
}

/** Somebody has notified, or nobody has for as long as the last poll said. */
type Why = "called" | "slept";

interface LiveSession extends WorkerSession {
  /** Ends the work under it: it is lost, or the process stops. */
  readonly signal: AbortSignal;
}

/**
 * Claims due rows and works on them, any number of replicas side by side; sleeps until the earliest due one. `stop` ends
 * the calls under way and gives their rows back.
 */
export function makeEngine(deps: EngineDeps): Engine {
  const { pool, clock, log, workers } = deps;
  const stopping = new AbortController();
  const working = new Set<Promise<void>>();
  const inFlight = new Map<string, number>();
  const uuids = new Set<string>();
  // Postgres may have recorded leases of ours that nobody works under.
  let uncertain = false;
  // Whose calls may have been answered after another worker had taken over: what they did is checked.
  const late = new Set<string>();
  let failing = false;
  let session: LiveSession | undefined;
  const turns = makeTurns(clock);

  async function run(): Promise<void> {
    let why: Why = "called";
    while (!stopping.signal.aborted) {
      const sleepMs = await poll(why);
      const isCalled = await deps.due.wait(Math.min(LONGEST_SLEEP_MS, Math.max(5, sleepMs)), stopping.signal);
      why = isCalled ? "called" : "slept";
    }
  }

  /** Returns how long to sleep. Never throws. */
  async function poll(why: Why): Promise<number> {
    try {
      const sleepMs = await pollOnce(why);
      turns.done();
      return sleepMs;
    } catch (error) {
      uncertain = true;
      failing = true;
      turns.failed(error);
      log.warn("failed to poll for due work; retrying in a second", { error });
      return 1000;
    }
  }

  async function pollOnce(why: Why): Promise<number> {
    if (!deps.ready()) return UNTIL_READY_MS;
    // Who waits for room at a slow upstream keeps nobody else's worker.
    const free = workers - (working.size - deps.originLimits.waiting());
    // With every worker busy, the next one that is free polls again.
    if (free <= 0) return LONGEST_SLEEP_MS;
    const current = await liveSession();
    const clusterID = await deps.clusterID();
    if (uncertain) {
      uncertain = false;
      await giveBackLost(pool, current.owner, [...uuids]);
    }
    if (late.size > 0) {
      const asked = [...late];
      const held = await lookAfterLate(pool, asked);
      for (const uuid of asked) if (!held.includes(uuid)) late.delete(uuid);
    }
    const most = Math.max(1, Math.floor(workers / 2));
    const claims = await claimDue(pool, current.owner, free, counted(most), most);
    if (failing) {
      failing = false;
      deps.recovered();
    }
    for (const claim of claims) work(claim, current, clusterID);
    // The next worker that is free polls again.
    if (claims.length === free) return LONGEST_SLEEP_MS;
    // And most are free soon: only when none was for a while is it worth asking how long that while may be.
    if (working.size > 0 && why === "called") return BUSY_MS;
    // With claims in flight, what is due may be held back for its tenant: again when a worker is free, or soon.
    const earliest = (await earliestDueMs(pool)) ?? LONGEST_SLEEP_MS;
    return working.size > 0 ? Math.max(BUSY_MS, earliest) : earliest;
  }

  /** Who waits for an upstream is told so one at a time: however many they are, the others do not notice. */
  function counted(most: number): ReadonlyMap<string, number> {
    const counts = new Map(inFlight);
    for (const [tenantID, cap] of deps.held()) counts.set(tenantID, most - cap + (inFlight.get(tenantID) ?? 0));
    return counts;
  }

  function work(claim: Claim, current: LiveSession, clusterID: string): void {
    const { signal } = current;
    const { tenantID, uuid, dueAt } = claim.row;
    const began = clock.now();
    const queuedMs = Math.max(0, began - (dueAt?.getTime() ?? began));
    const measure = (result: ClaimResult): void => deps.reconciled({ result, ms: clock.now() - began, queuedMs });
    uuids.add(uuid);
    inFlight.set(tenantID, (inFlight.get(tenantID) ?? 0) + 1);
    const job = processClaim({ ...deps, clusterID }, claim, signal)
      .then(async (how) => {
        measure(how);
        if (how !== "lost") return;
        await pause(LANDS_MS, stopping.signal);
        // Whoever changed the row may have left the lease to this call, which is over now.
        uncertain = true;
        late.add(uuid);
      })
      .catch(async (error: unknown) => {
        measure("error");
        // Postgres failed under it: the row is still due. After a pause, for what failed once may fail for ever.
        log.warn("failed to process a claim; retrying", { saga: uuid, error });
        await pause(RETRIES.claim.firstMs, stopping.signal);
        uncertain = true;
        late.add(uuid);
      })
      .finally(() => {
        working.delete(job);
        uuids.delete(uuid);
        const left = (inFlight.get(tenantID) ?? 1) - 1;
        if (left > 0) inFlight.set(tenantID, left);
        else inFlight.delete(tenantID);
        deps.due.notify();
      });
    working.add(job);
  }

  async function liveSession(): Promise<LiveSession> {
    if (session !== undefined && !session.lost.aborted) return session;
    await session?.close();
    const opened = await deps.openSession();
    session = { ...opened, signal: AbortSignal.any([stopping.signal, opened.lost]) };
    return session;
  }

  const loop = loopPart({ name: "engine", run, lastProgress: () => turns.lastProgress(), stopping });
  return {
    ...loop,
    disown(owner) {
      if (session?.owner !== owner || session.lost.aborted) return;
      log.warn("lost the worker's session; other workers take over its claims", { outcome: "lost" });
      session.abandon();
      deps.due.notify();
    },
    activeWorkers: () => working.size,
    owner: () => (session === undefined || session.lost.aborted ? undefined : session.owner),
    stop: async () => {
      await loop.stop();
      await Promise.allSettled(working);
      await session?.close();
    },
  };
}
