/**
 * Runs `work` under a signal that is cut with `signal`, or with a TimeoutError after `ms`; drops both when the work
 * is over. `AbortSignal.any` of a signal that lives as long as the process leaves a note on it for each call until the
 * collector comes by, and goes through all of them for each that it collects: an eighth of a busy process.
 */
export async function withDeadline<T>(
  signal: AbortSignal,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const either = new AbortController();
  const cut = (): void => either.abort(signal.reason);
  if (signal.aborted) cut();
  else signal.addEventListener("abort", cut, { once: true });
  const late = (): void => either.abort(new DOMException(`not over after ${ms} ms`, "TimeoutError"));
  const timer = setTimeout(late, ms);
  try {
    return await work(either.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cut);
  }
}
