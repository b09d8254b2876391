import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { type Claim, claimDue, earliestDueMs, giveBackLost, lookAfterLate } from "../store/claims.ts";
import type { WorkerSession } from "../store/workerSession.ts";
import { type ClaimDeps, processClaim } from "./claim.ts";

/** However far the next due row is, look at least this often: the heartbeat may be lost. */
const LONGEST_SLEEP_MS = 30_000;

const UNTIL_READY_MS = 100;
const CROWDED_MS = 250;
const GIVEN_UP_MS = 3_000;
/** For a call that was cut off to be over at its neighbour too. */
const LANDS_MS = 1_000;

export interface EngineDeps extends Omit<ClaimDeps, "clusterID" | "cluster"> {
  readonly pool: Pool;
  readonly cluster: ClaimDeps["cluster"];
  readonly clusterID: () => Promise<string>;
  /** How many claims are worked on at once. */
  readonly workers: number;
  /** Whether the Tenants are known: before that, "no Tenant" would be said of everybody. */
  readonly ready: () => boolean;
  readonly openSession: () => Promise<WorkerSession>;
  /** Postgres answers again. */
  readonly recovered: () => void;
  /** Tenants with a neighbour that is known to be down. */
  readonly held: () => readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

export interface Engine {
  /** Look for due work now. Cheap to call often: calls while it looks become one more look. */
  look(): void;
  start(): void;
  /** The number of this process's worker session; undefined while there is none. */
  owner(): number | undefined;
  /** Milliseconds since the epoch of the last completed look, whatever its outcome. */
  lastProgress(): number;
  /** Ends the calls under way and gives their rows back. */
  stop(): Promise<void>;
}

/** Somebody has called, or nobody has for as long as the last look said. */
type Why = "called" | "slept";

interface LiveSession extends WorkerSession {
  /** Ends the work under it: it is lost, or the process stops. */
  readonly signal: AbortSignal;
}

/** Claims due rows and works on them, any number of replicas side by side; sleeps until the earliest due one. */
export function makeEngine(deps: EngineDeps): Engine {
  const { pool, clock, log, workers } = deps;
  const stopping = new AbortController();
  const working = new Set<Promise<void>>();
  const inHand = new Map<string, number>();
  const uuids = new Set<string>();
  // Postgres may have recorded leases of ours that nobody works under.
  let uncertain = false;
  // Whose calls may have been answered after somebody else had taken over: what they did is looked for.
  const late = new Set<string>();
  let failing = false;
  let session: LiveSession | undefined;
  let looking: Promise<void> | undefined;
  let again = false;
  let timer: NodeJS.Timeout | undefined;
  let progress = clock.now();

  const look = (): void => lookBecause("called");

  function lookBecause(why: Why): void {
    if (stopping.signal.aborted) return;
    if (looking !== undefined) {
      again = true;
      return;
    }
    clearTimeout(timer);
    looking = lookOnce(why)
      .then((sleepMs) => arm(sleepMs))
      .catch((error: unknown) => {
        uncertain = true;
        failing = true;
        log.warn("Looking for due work failed; it is tried again in a second.", { error });
        arm(1000);
      })
      .finally(() => {
        progress = clock.now();
        looking = undefined;
        if (again) {
          again = false;
          look();
        }
      });
  }

  function arm(sleepMs: number): void {
    if (stopping.signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(() => lookBecause("slept"), Math.min(LONGEST_SLEEP_MS, Math.max(5, sleepMs)));
  }

  /** Returns how long to sleep. */
  async function lookOnce(why: Why): Promise<number> {
    if (!deps.ready()) return UNTIL_READY_MS;
    const free = workers - working.size;
    // A full house looks again when somebody leaves.
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
    // Somebody who leaves looks again.
    if (claims.length === free) return LONGEST_SLEEP_MS;
    // And most leave soon: only when nobody has for a while is it worth asking how long that while may be.
    if (working.size > 0 && why === "called") return CROWDED_MS;
    // With work in hand, what is due may be held back for its tenant: again when somebody leaves, or soon.
    const earliest = (await earliestDueMs(pool)) ?? LONGEST_SLEEP_MS;
    return working.size > 0 ? Math.max(CROWDED_MS, earliest) : earliest;
  }

  /** Who waits for a neighbour is told so one at a time: however many they are, the others do not notice. */
  function counted(most: number): ReadonlyMap<string, number> {
    const counts = new Map(inHand);
    for (const tenantID of deps.held()) counts.set(tenantID, most - 1 + (inHand.get(tenantID) ?? 0));
    return counts;
  }

  function work(claim: Claim, current: LiveSession, clusterID: string): void {
    const { signal } = current;
    const { tenantID, uuid } = claim.row;
    uuids.add(uuid);
    inHand.set(tenantID, (inHand.get(tenantID) ?? 0) + 1);
    const job = processClaim({ ...deps, clusterID }, claim, signal)
      .then(async (how) => {
        if (how === "ended") return;
        await sleep(LANDS_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
        late.add(uuid);
      })
      .catch(async (error: unknown) => {
        // Postgres failed under it: the row is still due. After a pause, for what failed once may fail for ever.
        log.warn("A claim was given up; it is taken up again.", { saga: uuid, error });
        await sleep(GIVEN_UP_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
        uncertain = true;
        late.add(uuid);
      })
      .finally(() => {
        working.delete(job);
        uuids.delete(uuid);
        const left = (inHand.get(tenantID) ?? 1) - 1;
        if (left > 0) inHand.set(tenantID, left);
        else inHand.delete(tenantID);
        look();
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

  return {
    look,
    start: look,
    owner: () => (session === undefined || session.lost.aborted ? undefined : session.owner),
    lastProgress: () => progress,
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      clearTimeout(timer);
      await looking;
      await Promise.allSettled(working);
      await session?.close();
    },
  };
}
