/**
 * Lists and watches over the shared connections, for ever: metadata only, resumed by resourceVersion and bookmarks, listed
 * again on a timer and when the API server has forgotten the version.
 */
import pLimit from "p-limit";
import * as z from "zod";
import { type ObjectMeta, objectMeta } from "../api/meta.ts";
import type { Clock, Random } from "../lib/clock.ts";
import { TransientError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { classify } from "./classify.ts";
import type { OpenWatch, Watch, WatchEvent, WatchTarget } from "./cluster.ts";
import { type ApiStream, type Connection, json, METADATA_ONLY } from "./connection.ts";
import { lines } from "./lines.ts";
import { makeScouting, type Scouting, sleep } from "./scouting.ts";

export interface WatchTiming {
  /** A whole list this often, against whatever a watch may have lost. Jittered up to a fifth less. */
  readonly relistMs: number;
  /** How long the API server keeps one watch open: between this and twice this. */
  readonly serverSeconds: number;
  /** Bookmarks come every minute: after so long without a byte the watch is opened anew. */
  readonly quietMs: number;
  readonly backoffMs: { readonly first: number; readonly most: number };
  /** A watch that lived so long had nothing wrong with it. */
  readonly healthyMs: number;
}

const DEFAULT_TIMING: WatchTiming = {
  relistMs: 30 * 60_000,
  serverSeconds: 1_800,
  quietMs: 150_000,
  backoffMs: { first: 200, most: 30_000 },
  healthyMs: 10_000,
};

/** So many failures in a row (some seconds) are worth a line in the log. */
const LASTING_FAILURES = 5;

const PAGE = 500;
/** Lists at the same moment: a start with a thousand watches is no storm. */
const LISTS = 8;

const ACCEPT_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

export interface WatchDeps {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** The API server answers again. */
  readonly recovered?: () => void;
}

export interface Watches {
  readonly open: OpenWatch;
  /** Stops every watch; the connection stays. */
  close(): Promise<void>;
}

export function makeOpenWatch(connection: Connection, deps: WatchDeps, timing: Partial<WatchTiming> = {}): Watches {
  const times = { ...DEFAULT_TIMING, ...timing };
  const listing = pLimit(LISTS);
  const scouting = makeScouting({ random: deps.random, recovered: deps.recovered });
  const watches = new Set<Watch>();
  return {
    open(target, onEvent) {
      const watch = startWatch({ connection, deps, times, listing, scouting, target, onEvent });
      watches.add(watch);
      return {
        ...watch,
        stop: async () => {
          watches.delete(watch);
          await watch.stop();
        },
      };
    },
    async close() {
      await Promise.all([...watches].map((watch) => watch.stop()));
      watches.clear();
    },
  };
}

interface Context {
  readonly connection: Connection;
  readonly deps: WatchDeps;
  readonly times: WatchTiming;
  readonly listing: ReturnType<typeof pLimit>;
  readonly scouting: Scouting;
  readonly target: WatchTarget;
  readonly onEvent: (event: WatchEvent) => Promise<void> | void;
}

/** What one watch knows; changed by its own loop alone. */
interface State {
  /** Where to go on; undefined: list first. */
  version: string | undefined;
  listAgainAt: number;
  progress: number;
  failures: number;
}

function startWatch(context: Context): Watch {
  const { deps, target, times } = context;
  const { log } = deps;
  const { path } = target;
  const state: State = { version: undefined, listAgainAt: 0, progress: deps.clock.now(), failures: 0 };
  const stopping = new AbortController();
  const synced = Promise.withResolvers<void>();
  // Nobody may be waiting for it.
  synced.promise.catch(() => undefined);

  const round = async (): Promise<void> => {
    if (state.version === undefined || deps.clock.now() >= state.listAgainAt) {
      await listOnce(context, state, stopping.signal);
      synced.resolve();
    }
    await watchOnce(context, state, stopping.signal);
  };

  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await round();
        succeeded(context, state);
      } catch (error) {
        if (stopping.signal.aborted) break;
        const pause = pauseAfter(error, state, times, deps.random);
        // A broken connection is everyday life; one line when it lasts, and what comes of it shows in lastProgress().
        const level = state.failures === LASTING_FAILURES ? "warn" : "debug";
        log[level]("watch failed, trying again", {
          path,
          attempt: state.failures,
          outcome: "failed",
          ms: pause,
          error,
        });
        if (isSilence(error)) await context.scouting.rest(pause, stopping.signal);
        else await sleep(pause, stopping.signal);
      }
    }
    synced.reject(new Error("the watch was stopped before its first list"));
  };
  const ended = loop();

  return {
    lastProgress: () => state.progress,
    synced: synced.promise,
    // Waits for the handler at work, so it must not be awaited inside one.
    async stop() {
      stopping.abort(new Error("the watch was stopped"));
      await ended;
    },
  };
}

function succeeded({ deps, target: { path } }: Context, state: State): void {
  if (state.failures >= LASTING_FAILURES) {
    deps.log.info("watch goes on", { path, attempt: state.failures, outcome: "recovered" });
  }
  state.failures = 0;
}

/** The API server no longer knows the version (410): list again. */
class Expired extends Error {}

const withMeta = z.looseObject({ metadata: objectMeta });
const page = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), continue: z.string().optional() }),
  // null: how the API server writes an empty list of metadata.
  items: z.array(withMeta).nullable(),
});

/** Lists the whole collection, in pages, and delivers it. */
async function listOnce(context: Context, state: State, signal: AbortSignal): Promise<void> {
  const { deps, listing, onEvent, times } = context;
  const { items, version } = await listing(() => collect(context, state, signal));
  await onEvent({ kind: "listed", items });
  state.version = version;
  state.listAgainAt = deps.clock.now() + times.relistMs * (1 - deps.random() * 0.2);
}

async function collect(
  { connection, deps, scouting, target }: Context,
  state: State,
  signal: AbortSignal,
): Promise<{ items: ObjectMeta[]; version: string }> {
  const doing = `list ${target.path}`;
  const items: ObjectMeta[] = [];
  let next: string | undefined;
  for (;;) {
    signal.throwIfAborted();
    const query = { ...selector(target), limit: String(PAGE), ...(next ? { continue: next } : {}) };
    const request = { method: "GET", path: target.path, query, accept: ACCEPT_LIST } as const;
    const answer = await connection.send(request, signal);
    // 410 here: the list took so long that its snapshot is gone. The next try begins anew.
    if (answer.status !== 200) throw classify(answer, doing, deps.clock.now());
    const { metadata, items: some } = page.parse(json(answer));
    state.progress = deps.clock.now();
    scouting.answered();
    for (const item of some ?? []) items.push(lean(item.metadata));
    next = metadata.continue;
    if (!next) return { items, version: metadata.resourceVersion };
  }
}

const watchLine = z.object({ type: z.string(), object: z.unknown() });
const bookmark = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const errorObject = z.looseObject({ code: z.number().optional(), message: z.string().optional() });

/** One watch request, until the server ends it or the list timer runs out; throws when something breaks. */
async function watchOnce(context: Context, state: State, signal: AbortSignal): Promise<void> {
  const { connection, deps, target, times } = context;
  const begun = deps.clock.now();
  const query = {
    ...selector(target),
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: state.version ?? "",
    timeoutSeconds: String(Math.round(times.serverSeconds * (1 + deps.random()))),
  };
  const request = { method: "GET", path: target.path, query, accept: METADATA_ONLY } as const;
  const stream = await connection.stream(request, signal);
  const quiet = watchdog(stream, times.quietMs);
  let listIsDue = false;
  const relist = setTimeout(
    () => {
      listIsDue = true;
      state.listAgainAt = 0;
      stream.cancel();
    },
    Math.max(0, state.listAgainAt - begun),
  );
  let handled = 0;
  try {
    if (stream.status !== 200) throw await refusal(stream, context);
    state.progress = deps.clock.now();
    context.scouting.answered();
    for await (const line of lines(stream.chunks, () => quiet.feed())) {
      state.progress = deps.clock.now();
      // While the handler works no byte is read, which is not the server's silence.
      quiet.pause();
      await deliver(context, state, line);
      signal.throwIfAborted();
      handled += 1;
      succeeded(context, state);
      quiet.feed();
    }
  } catch (error) {
    if (listIsDue) return;
    if (error instanceof Expired) state.version = undefined;
    // One that broke after a long and happy life has no history of failures.
    if (deps.clock.now() - begun >= times.healthyMs) succeeded(context, state);
    throw error;
  } finally {
    clearTimeout(relist);
    quiet.pause();
    stream.cancel();
  }
  // Opened and ended at once, without a word: something in between does that, and it must not become a hot loop.
  if (handled === 0 && deps.clock.now() - begun < Math.min(1_000, times.healthyMs)) {
    throw new TransientError({
      code: "NeighbourUnavailable",
      neighbour: "kubernetes",
      message: `The watch of ${target.path} ended as soon as it had begun.`,
    });
  }
}

async function refusal(stream: ApiStream, { deps, target }: Context): Promise<Error> {
  if (stream.status === 410) return new Expired("the version is too old");
  const parts: Buffer[] = [];
  for await (const chunk of stream.chunks) parts.push(chunk);
  const answer = { status: stream.status, headers: stream.headers(), text: Buffer.concat(parts).toString("utf8") };
  return classify(answer, `watch ${target.path}`, deps.clock.now());
}

async function deliver({ onEvent, target }: Context, state: State, line: string): Promise<void> {
  const { type, object } = watchLine.parse(JSON.parse(line));
  if (type === "ERROR") throw sent(errorObject.parse(object), target);
  const kind = EVENT_KINDS.get(type);
  if (kind === undefined) {
    // A bookmark has nothing but a version.
    state.version = bookmark.parse(object).metadata.resourceVersion;
    return;
  }
  const meta = lean(withMeta.parse(object).metadata);
  try {
    await onEvent({ kind, object: meta });
  } catch (error) {
    // It was not taken in: only a list brings it back for sure (a deletion shows as an absence).
    state.version = undefined;
    throw error;
  }
  state.version = meta.resourceVersion ?? state.version;
}

function sent(error: z.infer<typeof errorObject>, target: WatchTarget): Error {
  if (error.code === 410) return new Expired("the version is too old");
  return new TransientError({
    code: "NeighbourUnavailable",
    neighbour: "kubernetes",
    upstreamStatus: error.code,
    message: `kubernetes ended the watch of ${target.path}: ${error.message ?? "no reason given"}`,
  });
}

const EVENT_KINDS = new Map<string, "added" | "modified" | "deleted">([
  ["ADDED", "added"],
  ["MODIFIED", "modified"],
  ["DELETED", "deleted"],
]);

/** managedFields are most of an object's metadata, and nobody here reads them. */
function lean(meta: ObjectMeta): ObjectMeta {
  const { managedFields: _managedFields, ...rest } = meta;
  return rest;
}

function selector(target: WatchTarget): Record<string, string> {
  return target.labelSelector === undefined ? {} : { labelSelector: target.labelSelector };
}

function pauseAfter(error: unknown, state: State, times: WatchTiming, random: Random): number {
  const { first, most } = times.backoffMs;
  const ceiling = Math.min(most, first * 2 ** Math.min(state.failures, 20));
  state.failures += 1;
  const asked = error instanceof TransientError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(asked, ceiling * (0.5 + random() / 2));
}

/** Nobody answered: the others who watch will find the same. */
function isSilence(error: unknown): boolean {
  return error instanceof TransientError && error.neighbour === "kubernetes" && error.upstreamStatus === undefined;
}

/** Ends the stream after `quietMs` without `feed`. */
function watchdog(stream: ApiStream, quietMs: number): { feed(): void; pause(): void } {
  let timer: NodeJS.Timeout | undefined;
  const pause = () => clearTimeout(timer);
  const feed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stream.cancel(), quietMs);
  };
  feed();
  return { feed, pause };
}
