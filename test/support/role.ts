/** A role as src/main.ts runs it, in this process: its own lifecycle, ports of its own, its configuration from variables. */
import { EventEmitter, once } from "node:events";
import { createServer } from "node:net";
import { makeLifecycle, type Lifecycle } from "../../src/lib/lifecycle.ts";
import { silentLog } from "../../src/lib/log.ts";

export interface RunningRole {
  /** One of the role's own pages. */
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** Asks for the end, and resolves with the exit code. */
  stop(): Promise<number>;
}

export function startRole(opsPort: number, run: (lifecycle: Lifecycle) => Promise<number>): RunningRole {
  const lifecycle = makeLifecycle({
    log: silentLog,
    deadlineMs: 20_000,
    signals: new EventEmitter(),
    exit: (code) => {
      throw new Error(`the role wanted to exit with ${code}`);
    },
  });
  const ended = run(lifecycle);
  return {
    async get(path) {
      const response = await fetch(`http://127.0.0.1:${opsPort}${path}`);
      return { status: response.status, text: await response.text() };
    },
    stop() {
      lifecycle.stop("end of the test");
      return ended;
    },
  };
}

/** On which nobody listens at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("it did not listen on a port");
  return address.port;
}
