/**
 * Lists and watches over the shared connections, for ever: metadata only, resumed by resourceVersion and bookmarks, listed
 * again on a timer and when the API server has forgotten the version.
 */
import pLimit from "p-limit";
import * as z from "zod";
import { RETRIES, type RetryPolicy, retryPauseMs } from "../lib/backoff.ts";
import { bodyRefusedBy } from "../lib/body.ts";
import { type Clock, pause, type Random } from "../lib/clock.ts";
import { TransientError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { classify } from "./classify.ts";
import type { OpenWatch, Watch, WatchEvent, WatchTarget } from "./cluster.ts";
import { type ApiStream, type ApiClient, METADATA_ONLY } from "./apiClient.ts";
import { listMetadata, metadataOf, selector } from "./metadata.ts";
import { makeSharedTicker, type SharedTicker } from "./sharedTicker.ts";
import { makeReconnectProbe, type ReconnectProbe } from "./reconnectProbe.ts";
import { unavailable } from "./failures.ts";

export interface WatchTiming {
  /** A whole list this often, against whatever a watch may have lost. Jittered up to a fifth less. */
  readonly relistMs: number;
  /** How long the API server keeps one watch open: between this and twice this. */
  readonly serverSeconds: number;
  /** Bookmarks come every minute: after so long without a byte the watch is opened again. */
  readonly quietMs: number;
  readonly retry: Omit<RetryPolicy, "what">;
  /** A watch that lived so long had nothing wrong with it. */
  readonly healthyMs: number;
}

const DEFAULT_TIMING: WatchTiming = {
  relistMs: 30 * 60_000,
  serverSeconds: 1_800,
  quietMs: 150_000,
  retry: RETRIES.watch,
  healthyMs: 10_000,
};

/** So many failures in a row (some seconds) are worth a line in the log. */
const LASTING_FAILURES = 5;

/** All watches are looked at this often, for silence and for a list that is due; oftener where these come sooner. */
const LOOK_MS = 1_000;

/** Lists at the same moment: a start with a thousand watches is no burst. */
const LISTS = 8;

export interface WatchDeps {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** The API server answers again. */
  readonly recovered?: () => void;
  /** For metrics: something that is no object was left out. */
  readonly skipped?: () => void;
  /** For metrics: a watch broke, and begins again. */
  readonly restarted?: (target: WatchTarget) => void;
}

export interface Watches {
  readonly open: OpenWatch;
  /** Of the watch that stands still the longest: milliseconds since the epoch of its last list, line or try. */
  lastProgress(): number;
  /** Stops every watch; the connection stays. */
  close(): Promise<void>;
}

export function makeOpenWatch(connection: ApiClient, deps: WatchDeps, timing: Partial<WatchTiming> = {}): Watches {
  const times = { ...DEFAULT_TIMING, ...timing };
  const lookMs = Math.ceil(Math.min(LOOK_MS, times.quietMs / 20, times.relistMs / 20));
  const context: Context = {
    connection,
    deps,
    times,
    listing: pLimit(LISTS),
    reconnectProbe: makeReconnectProbe({ random: deps.random, recovered: deps.recovered }),
    rounds: makeSharedTicker((state) => look(state, times, lookMs, deps.clock.now()), lookMs),
    watches: new Set(),
    states: new Set(),
  };
  return {
    open: (target, onEvent) => startWatch(context, target, onEvent),
    lastProgress: () => Math.min(deps.clock.now(), ...Array.from(context.states, ({ triedAt }) => triedAt)),
    async close() {
      await Promise.all([...context.watches].map((watch) => watch.stop()));
    },
  };
}

interface Context {
  readonly connection: ApiClient;
  readonly deps: WatchDeps;
  readonly times: WatchTiming;
  readonly listing: ReturnType<typeof pLimit>;
  readonly reconnectProbe: ReconnectProbe;
  readonly rounds: SharedTicker<State>;
  readonly watches: Set<Watch>;
  readonly states: Set<State>;
}

/** What one watch is and knows; changed by its own loop, and by the rounds alone. There are a thousand: it holds what it needs. */
interface State {
  readonly target: WatchTarget;
  readonly onEvent: (event: WatchEvent) => Promise<void> | void;
  /** Where to continue; undefined: list first. */
  version: string | undefined;
  /** Who waits for the first list. */
  untilListed: Pick<PromiseWithResolvers<void>, "resolve" | "reject"> | undefined;
  /** Until the next list, and since the last byte. Milliseconds, counted by the rounds. */
  listIn: number;
  quietFor: number;
  /** The handler works: no byte is read, which is not the server's silence. */
  handling: boolean;
  /** What it is at beside reading its stream: a list, the opening of the stream, a pause. */
  busy: AbortController | undefined;
  stream: ApiStream | undefined;
  isStopped: boolean;
  progress: number;
  /** When something was read, or could not be. */
  triedAt: number;
  /** It waits until others have listed. */
  isQueued: boolean;
  failures: number;
}

function startWatch(context: Context, target: WatchTarget, onEvent: State["onEvent"]): Watch {
  const synced = Promise.withResolvers<void>();
  const state: State = {
    target,
    onEvent,
    version: undefined,
    untilListed: synced,
    listIn: 0,
    quietFor: 0,
    handling: false,
    busy: undefined,
    stream: undefined,
    isStopped: false,
    progress: context.deps.clock.now(),
    triedAt: context.deps.clock.now(),
    isQueued: false,
    failures: 0,
  };
  // Nobody may be waiting for it.
  synced.promise.catch(() => undefined);
  context.rounds.join(state);
  context.states.add(state);
  const ended = loop(context, state);

  const watch: Watch = {
    lastProgress: () => state.progress,
    synced: synced.promise,
    // Waits for the handler at work, so it must not be awaited inside one.
    async stop() {
      context.watches.delete(watch);
      state.isStopped = true;
      state.busy?.abort(new Error("the watch was stopped"));
      state.stream?.cancel();
      await ended;
      context.states.delete(state);
      context.rounds.leave(state);
    },
  };
  context.watches.add(watch);
  return watch;
}

/** Work that a stop cuts. */
async function cuttable<T>(state: State, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  state.busy = new AbortController();
  if (state.isStopped) state.busy.abort(new Error("the watch was stopped"));
  try {
    return await work(state.busy.signal);
  } finally {
    state.busy = undefined;
  }
}

async function loop(context: Context, state: State): Promise<void> {
  while (!state.isStopped) {
    try {
      if (state.version === undefined || state.listIn <= 0) await listOnce(context, state);
      await watchOnce(context, state);
      succeeded(context, state);
    } catch (error) {
      if (state.isStopped) break;
      await cuttable(state, (signal) => waitForRetry(context, state, error, signal));
    }
  }
  state.untilListed?.reject(new Error("the watch was stopped before its first list"));
}

async function waitForRetry(
  { deps, times, reconnectProbe }: Context,
  state: State,
  error: unknown,
  signal: AbortSignal,
) {
  const ms = pauseAfter(error, state, times, deps.random);
  state.triedAt = deps.clock.now();
  deps.restarted?.(state.target);
  // A broken connection is everyday life; one line when it lasts, and what comes of it shows in lastProgress().
  const level = state.failures === LASTING_FAILURES ? "warn" : "debug";
  const { path } = state.target;
  deps.log[level]("failed to watch; retrying", { path, attempt: state.failures, outcome: "failed", ms, error });
  if (isSilence(error)) await reconnectProbe.rest(ms, signal);
  else await pause(ms, signal);
}

/** Ends a stream on which nothing comes, and one whose list is due. */
function look(state: State, times: WatchTiming, sinceMs: number, now: number): void {
  if (state.isQueued) state.triedAt = now;
  state.listIn -= sinceMs;
  state.quietFor = state.handling ? 0 : state.quietFor + sinceMs;
  if (state.listIn <= 0 || state.quietFor >= times.quietMs) state.stream?.cancel();
}

function succeeded({ deps }: Context, state: State): void {
  if (state.failures >= LASTING_FAILURES) {
    deps.log.info("resumed watch", { path: state.target.path, attempt: state.failures, outcome: "recovered" });
  }
  state.failures = 0;
}

/** The API server no longer knows the version (410): list again. */
class Expired extends Error {}

/** Lists the whole collection and delivers it. */
async function listOnce(context: Context, state: State): Promise<void> {
  const { connection, deps, listing, reconnectProbe, times } = context;
  const onPage = (): void => {
    moved(state, deps.clock);
    reconnectProbe.answered();
  };
  state.isQueued = true;
  const { items, version } = await listing(() => {
    state.isQueued = false;
    return cuttable(state, (signal) =>
      listMetadata({ connection, onPage, skipped: () => leaveOut(deps, state.target) }, state.target, signal),
    );
  });
  await state.onEvent({ kind: "listed", items });
  state.version = version;
  state.listIn = Math.ceil(times.relistMs * (1 - deps.random() * 0.2));
  state.untilListed?.resolve();
  state.untilListed = undefined;
}

const watchLine = z.object({ type: z.string(), object: z.unknown() });
const bookmark = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const errorObject = z.looseObject({ code: z.number().optional(), message: z.string().optional() });

/** One watch request, until the server ends it or a list is due; throws when something breaks. */
async function watchOnce(context: Context, state: State): Promise<void> {
  const { deps, times } = context;
  const begun = deps.clock.now();
  let handled = 0;
  try {
    const stream = await cuttable(state, (signal) => open(context, state, signal));
    for (let line = await stream.next(); line !== undefined; line = await stream.next()) {
      moved(state, deps.clock);
      state.handling = true;
      await deliver(deps, state, line);
      if (state.isStopped) return;
      handled += 1;
      succeeded(context, state);
      state.handling = false;
    }
  } catch (error) {
    if (state.listIn <= 0) return;
    // A line that is too much would come again: the list, whose pages shrink, leads past it.
    if (error instanceof Expired || bodyRefusedBy(error) !== undefined) state.version = undefined;
    // One that broke after a long and happy life has no history of failures.
    if (deps.clock.now() - begun >= times.healthyMs) succeeded(context, state);
    throw error;
  } finally {
    state.stream?.cancel();
    state.stream = undefined;
    state.handling = false;
  }
  // Opened and ended at once, without a word: something in between does that, and it must not become a hot loop.
  if (handled === 0 && deps.clock.now() - begun < Math.min(1_000, times.healthyMs)) {
    throw unavailable(`The watch of ${state.target.path} ended as soon as it had begun.`);
  }
}

async function open({ connection, deps, reconnectProbe, times }: Context, state: State, signal: AbortSignal) {
  const { target } = state;
  const query = {
    ...selector(target),
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: state.version ?? "",
    timeoutSeconds: String(Math.round(times.serverSeconds * (1 + deps.random()))),
  };
  const request = { method: "GET", path: target.path, query, accept: METADATA_ONLY } as const;
  const answer = await connection.stream(request, () => (state.quietFor = 0), signal);
  if ("text" in answer) {
    if (answer.status === 410) throw new Expired("the version is too old");
    throw classify(answer, `watch ${target.path}`, deps.clock.now());
  }
  // From here on it is ended through the state alone.
  state.stream = answer;
  state.quietFor = 0;
  signal.throwIfAborted();
  moved(state, deps.clock);
  reconnectProbe.answered();
  return answer;
}

function moved(state: State, clock: Clock): void {
  state.progress = state.triedAt = clock.now();
}

function leaveOut(deps: WatchDeps, { path }: WatchTarget): void {
  deps.skipped?.();
  deps.log.warn("failed to read the metadata of an object; the others are listed", { path, outcome: "skipped" });
}

async function deliver(deps: WatchDeps, state: State, line: string): Promise<void> {
  const { type, object } = watchLine.parse(JSON.parse(line));
  if (type === "ERROR") throw sent(errorObject.parse(object), state.target);
  const kind = EVENT_KINDS.get(type);
  if (kind === undefined) {
    // A bookmark has nothing but a version.
    state.version = bookmark.parse(object).metadata.resourceVersion;
    return;
  }
  const meta = metadataOf(object);
  if (meta === undefined) {
    leaveOut(deps, state.target);
    // To begin here again would be to get it again.
    state.version = bookmark.safeParse(object).data?.metadata.resourceVersion;
    return;
  }
  try {
    await state.onEvent({ kind, object: meta });
  } catch (error) {
    // It was not taken in: only a list brings it back for sure (a deletion shows as an absence).
    state.version = undefined;
    throw error;
  }
  state.version = meta.resourceVersion ?? state.version;
}

function sent(error: z.infer<typeof errorObject>, target: WatchTarget): Error {
  if (error.code === 410) return new Expired("the version is too old");
  return unavailable(`kubernetes ended the watch of ${target.path}: ${error.message ?? "no reason given"}`, {
    upstreamStatus: error.code,
  });
}

const EVENT_KINDS = new Map<string, "added" | "modified" | "deleted">([
  ["ADDED", "added"],
  ["MODIFIED", "modified"],
  ["DELETED", "deleted"],
]);

function pauseAfter(error: unknown, state: State, times: WatchTiming, random: Random): number {
  state.failures += 1;
  const asked = error instanceof TransientError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(asked, retryPauseMs(times.retry, state.failures, random));
}

/** Nobody answered: the others who watch will find the same. */
function isSilence(error: unknown): boolean {
  return error instanceof TransientError && error.upstream === "kubernetes" && error.upstreamStatus === undefined;
}
