import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Polls until ready (true), or until the process is gone or time is up (false). `withinMs` is asked each time, and the
 * longest answer counts: who began on a busy machine is not given up when it becomes quiet.
 */
export async function waitFor(
  ready: () => Promise<boolean>,
  alive: () => boolean,
  withinMs: () => number,
): Promise<boolean> {
  const began = Date.now();
  for (let longest = withinMs(); Date.now() - began < longest; longest = Math.max(longest, withinMs())) {
    if (await ready()) return true;
    if (!alive()) return false;
    await sleep(100);
  }
  return false;
}

export async function httpOk(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(3_000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

/** For TLS ports whose certificate is nobody's business yet. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: 2_000 });
    const answer = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
    socket.once("timeout", () => answer(false));
  });
}
