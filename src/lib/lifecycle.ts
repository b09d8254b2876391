import type { Log } from "./log.ts";

/** Something with a beginning and an end. Only {@link Lifecycle} calls these two. */
export interface Part {
  readonly name: string;
  /** Must not wait for a dependency: a process starts with all of them down. */
  start(): Promise<void> | void;
  /** Must end by itself within the deadline; called once, and only after `start` was called. */
  stop(): Promise<void> | void;
  /** Of a part that loops: milliseconds since the epoch of its last turn. Must move while every dependency is down. */
  lastProgress?(): number;
  /** How long that may stand still until the process counts as dead. Default: two minutes. */
  readonly allowedMs?: number;
}

/** A part that loops, and so may hang. */
export interface LoopPart extends Part {
  lastProgress(): number;
}

export interface Lifecycle {
  /** Aborts at the beginning of the shutdown: joined into every call on the network. */
  readonly signal: AbortSignal;
  /** Asks for the end, as SIGTERM does. */
  stop(reason: string): void;
  /**
   * Starts the parts in order, waits for a signal or `stop`, stops them in reverse order.
   * Resolves with the exit code: 0, or 1 when a part could not start, failed to stop or took too long.
   */
  run(parts: readonly Part[]): Promise<number>;
}

/** The piece of `process` that is used here. */
export interface Signals {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
}

/** `exit` is main's: nothing else ends the process. Called only for a crash and for a second signal. */
export function makeLifecycle(deps: {
  readonly log: Log;
  readonly deadlineMs: number;
  readonly signals: Signals;
  readonly exit: (code: number) => void;
}): Lifecycle {
  const { log, deadlineMs, signals, exit } = deps;
  const shutdown = new AbortController();
  const asked = Promise.withResolvers<void>();

  const stop = (reason: string): void => {
    if (shutdown.signal.aborted) return;
    log.info("stopping", { reason });
    shutdown.abort(new Error(`shutting down: ${reason}`));
    asked.resolve();
  };

  const onSignal = (signal: unknown): void => {
    // Whoever asks twice does not want to wait for the deadline.
    if (shutdown.signal.aborted) exit(1);
    else stop(String(signal));
  };
  const onCrash = (error: unknown): void => {
    // State may be half changed: only a fresh process is safe. Every step may be cut anywhere.
    log.error("crashed", { outcome: "crashed", error });
    exit(1);
  };

  return {
    signal: shutdown.signal,
    stop,
    async run(parts) {
      signals.on("SIGTERM", onSignal);
      signals.on("SIGINT", onSignal);
      signals.on("uncaughtException", onCrash);
      signals.on("unhandledRejection", onCrash);
      const started: Part[] = [];
      let code = 0;
      for (const part of parts) {
        if (shutdown.signal.aborted) break;
        started.push(part);
        try {
          await part.start();
          log.debug("started", { part: part.name });
        } catch (error) {
          if (!shutdown.signal.aborted) code = 1;
          log.error("failed to start", { part: part.name, error });
          stop(`${part.name} failed to start`);
        }
      }
      if (!shutdown.signal.aborted) log.info("running", { parts: parts.map((part) => part.name) });
      await asked.promise;
      if (!(await stopAll(started, deadlineMs, log))) code = 1;
      signals.off("SIGTERM", onSignal);
      signals.off("SIGINT", onSignal);
      signals.off("uncaughtException", onCrash);
      signals.off("unhandledRejection", onCrash);
      log.info("stopped", { outcome: code === 0 ? "clean" : "unclean" });
      return code;
    },
  };
}

/** One deadline for all: after it the rest are told to stop, but not waited for. */
async function stopAll(started: readonly Part[], deadlineMs: number, log: Log): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), deadlineMs);
  let clean = true;
  for (const part of started.toReversed()) {
    const stopping = (async () => part.stop())().then(
      () => "stopped" as const,
      (error: unknown) => {
        log.error("failed to stop", { part: part.name, error });
        return "failed" as const;
      },
    );
    const outcome = await Promise.race([stopping, late]);
    if (outcome === "late") log.error("failed to stop in time", { part: part.name });
    if (outcome !== "stopped") clean = false;
  }
  clearTimeout(timer);
  return clean;
}
