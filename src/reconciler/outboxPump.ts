import pLimit from "p-limit";
import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import { exactPauseMs, RETRIES } from "../lib/backoff.ts";
import type { Clock } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeNotifier } from "../lib/notifier.ts";
import {
  coalesceWaiting,
  deferEvent,
  forgetSentEvents,
  holdOutbox,
  markSent,
  type OutboxEntry,
  parkEvent,
  unsentEvents,
  withOutbox,
} from "../store/outbox.ts";
import type { Queryable } from "../store/sagas.ts";
import { loopPart } from "./loops.ts";
import { makeTurns } from "./turns.ts";

const BATCH = 200;
/** Of one tenant in a batch: its queue, however long, takes a quarter of the places. */
const PER_TENANT = 50;
/** Different people's events side by side, so that an ack that takes long does not set the pace. */
const IN_FLIGHT = 16;
/** Marked as sent at once: what a crash in between sends a second time (with the same id). */
const MARK_AT_ONCE = 20;
/** So many failures one after the other are NATS's, not an event's. */
const OUTAGE = 3;
/** Refused so often while others were taken: no pause will change that. */
const MOST_ATTEMPTS = 15;
const IDLE_MS = 5_000;
/** One alone leaves at once; those that follow it closely leave together, for a batch costs four round trips. */
const GATHER_MS = 200;
/** Another replica sends: it may have read its last batch before our event was there. */
const OTHERS_TURN_MS = 250;
const KEEP_SENT_DAYS = 30;
const COALESCE_EVERY_MS = 60_000;

export interface OutboxPump extends LoopPart {
  /** Something may have been put in. */
  notify(): void;
}

/**
 * Sends what stands in the outbox, for ever: one replica at a time, each person's events in order, different people's side
 * by side. NATS away: it stays there. `publish` throws a terminal error for an event that NATS will never take: that one
 * is parked, and holds back nobody.
 */
export function makeOutboxPump(deps: {
  readonly pool: Pool;
  /** `traceparent`: of what the event tells of. */
  readonly publish: (event: UserEvent, signal: AbortSignal, traceparent: string | undefined) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  /** How many events of one tenant leave within a day. */
  readonly perDay?: number;
}): OutboxPump {
  const { pool, clock, log, perDay } = deps;
  const notifier = makeNotifier();
  const turns = makeTurns(clock);
  let failing = false;
  let spent: readonly string[] = [];

  async function coalesce(): Promise<void> {
    const before = spent;
    spent = await coalesceWaiting(pool, perDay);
    for (const tenant of spent.filter((each) => !before.includes(each))) {
      log.warn("stopped sending a tenant's events; it has sent as many as it may within a day", { tenant });
    }
  }

  async function run(signal: AbortSignal): Promise<void> {
    let forgottenAt = 0;
    let coalescedAt = clock.now();
    let isNotified = false;
    while (!signal.aborted) {
      let pause = IDLE_MS;
      let rest = 0;
      try {
        const batch = await withOutbox(pool, (db, lost) => sendBatch(db, lost, signal));
        if (batch === undefined) {
          if (isNotified) notifier.notify();
          rest = OTHERS_TURN_MS;
        } else if (batch.full) pause = 0;
        else if (batch.sent > 0) rest = GATHER_MS;
        turns.done();
        if (failing) log.info("sent events again", { outcome: "recovered" });
        failing = false;
        if (clock.now() - coalescedAt > COALESCE_EVERY_MS) {
          coalescedAt = clock.now();
          await coalesce();
        }
        if (clock.now() - forgottenAt > 3_600_000) {
          const forgotten = await forgetSentEvents(pool, KEEP_SENT_DAYS);
          if (forgotten === 0) forgottenAt = clock.now();
        }
      } catch (error) {
        if (!failing && !signal.aborted) log.warn("failed to send events; they are kept", { error });
        failing = true;
        turns.failed(error);
        // A failing dependency is not asked more often because there is more to send.
        pause = rest = RETRIES.outbox.firstMs;
      }
      isNotified = await notifier.wait(pause, signal, rest);
    }
  }

  /** Throws when NATS takes nothing, or the connection that holds the outbox is lost. */
  async function sendBatch(
    db: Queryable,
    lost: AbortSignal,
    signal: AbortSignal,
  ): Promise<{ readonly sent: number; readonly full: boolean }> {
    const entries = await unsentEvents(db, BATCH, PER_TENANT, perDay);
    if (entries.length === 0) return { sent: 0, full: false };
    const cut = new AbortController();
    const onEnd = (): void => cut.abort(lost.aborted ? lost.reason : signal.reason);
    lost.addEventListener("abort", onEnd);
    signal.addEventListener("abort", onEnd);
    if (signal.aborted) onEnd();

    let taken = 0;
    let inARow = 0;
    const acked: string[] = [];
    const failed: { readonly entry: OutboxEntry; readonly error: unknown }[] = [];
    // One connection takes one statement at a time.
    let writes: Promise<void> = Promise.resolve();
    const write = (work: () => Promise<void>): Promise<void> => (writes = writes.then(work));
    const release = holdOutbox(write, db);
    const mark = (): Promise<void> => write(() => markSent(db, acked.splice(0)));

    const sendPerson = async (events: readonly OutboxEntry[]): Promise<void> => {
      for (const entry of events) {
        if (cut.signal.aborted || inARow >= OUTAGE) return;
        try {
          await deps.publish(entry.payload, cut.signal, entry.traceparent ?? undefined);
          taken += 1;
          inARow = 0;
          acked.push(entry.seq);
          turns.done();
        } catch (error) {
          if (cut.signal.aborted) return;
          if (!isSagaError(error) || error.class !== "terminal") {
            inARow += 1;
            failed.push({ entry, error });
            return;
          }
          taken += 1;
          const { message } = error;
          await write(() => park(db, entry, message));
        }
        if (acked.length >= MARK_AT_ONCE) await mark();
      }
    };

    try {
      const limit = pLimit(IN_FLIGHT);
      const people = [...Map.groupBy(entries, ({ payload }) => payload.data.sme_user_uuid).values()];
      const ended = await Promise.allSettled(people.map((events) => limit(sendPerson, events)));
      await mark();
      const broken = ended.find((each) => each.status === "rejected");
      if (broken !== undefined) throw broken.reason;
      if (lost.aborted) throw lost.reason;
      if (taken === 0 && failed[0] !== undefined) throw failed[0].error;
      // NATS takes others: this is about the event.
      for (const { entry, error } of failed) await postpone(db, entry, error);
      return { sent: taken, full: entries.length === BATCH || (taken > 0 && entries.length >= PER_TENANT) };
    } finally {
      release();
      lost.removeEventListener("abort", onEnd);
      signal.removeEventListener("abort", onEnd);
    }
  }

  async function postpone(db: Queryable, entry: OutboxEntry, error: unknown): Promise<void> {
    if (entry.attempts + 1 < MOST_ATTEMPTS) {
      await deferEvent(db, entry.seq, exactPauseMs(RETRIES.event, entry.attempts + 1) / 1000);
      return;
    }
    const said = isSagaError(error) ? error.message : "It failed in an unknown way.";
    await park(db, entry, `NATS did not take it ${MOST_ATTEMPTS} times while it took others. ${said}`);
  }

  async function park(db: Queryable, entry: OutboxEntry, reason: string): Promise<void> {
    await parkEvent(db, entry.seq, reason);
    const { id, tenant_id: tenant, data } = entry.payload;
    log.error("parked an event that NATS does not take", {
      event: id,
      tenant,
      saga: data.sme_user_uuid,
      outcome: reason,
    });
  }

  const loop = loopPart({ name: "outbox", run, lastProgress: () => turns.lastProgress() });
  return { ...loop, notify: () => notifier.notify() };
}
