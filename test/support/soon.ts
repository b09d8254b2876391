import { vi } from "vitest";

/** Everything that is waited for comes in a second or two on a machine that has nothing else to do. */
const PATIENCE_MS = 60_000;

/** Asks again until the question does not throw; then gives its answer. */
export function soon<T>(question: () => T | Promise<T>, withinMs = PATIENCE_MS): Promise<T> {
  return vi.waitFor(question, { timeout: withinMs, interval: 50 });
}
