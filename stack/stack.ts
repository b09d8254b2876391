import { existsSync } from "node:fs";
import { join } from "node:path";

import { envOf, makeContext } from "./context.ts";
import { readEnv, writeEnv, type StackEnv } from "./env.ts";
import { withLock } from "./lock.ts";
import { obtain } from "./obtain/index.ts";
import { partOf, parts } from "./parts/index.ts";
import { partNames, type Context, type Part, type PartName } from "./parts/part.ts";
import { stackDir } from "./paths.ts";
import { stopProducts } from "./product/index.ts";
import { runTasks } from "./progress.ts";
import { ensureStarted, ensureStopped, stopSignal } from "./start-part.ts";
import { prepareState, readState, recordedProcess, runningProcess, wipe, type State } from "./state.ts";

export interface StackOptions {
  readonly name?: string;
  /** Takes each line of progress; without it they go to standard output, live on a terminal. */
  readonly log?: (line: string) => void;
  /** With a node, which runs Pods. A stack has one from its first start on, or never. */
  readonly node?: boolean;
}

export interface PartStatus {
  readonly part: PartName;
  /** `dead`: it was started and is gone without having been stopped. */
  readonly state: "running" | "dead" | "stopped";
  readonly pid: number | undefined;
}

/** Obtains and starts whatever is not there yet. On a running stack it starts only the parts that have died. */
export async function startStack({
  name = "default",
  log,
  node: wished = false,
}: StackOptions = {}): Promise<StackEnv> {
  const dir = stackDir(name);
  const known = readState(dir);
  if (wished && known.secrets !== undefined && known.node === undefined) {
    throw new Error(`The stack "${name}" was started without a node: stop it first, or choose another name.`);
  }
  const node = wished || known.node !== undefined;
  const obtained = await obtain(log, { node });
  return exclusively(dir, async () => {
    const state = await prepareState(
      dir,
      partNames.some((part) => runningProcess(dir, part)),
      obtained,
      node,
    );
    return bringUp(makeContext(name, dir, state), parts(node), log);
  });
}

/**
 * Starts these parts and writes the stack's env file: also when one of them does not come, for the others run, and whoever
 * looks for the reason needs their addresses. Throws what that part said.
 */
export async function bringUp(context: Context, present: readonly Part[], log: StackOptions["log"]): Promise<StackEnv> {
  // What the parts make on their way is in the env too.
  const write = (): StackEnv => {
    const env = envOf(context.name, context.dir, context);
    writeEnv(context.dir, env);
    return env;
  };
  try {
    await startAll(context, present, log);
  } catch (error) {
    write();
    throw error;
  }
  return write();
}

/** All parts at once, each as soon as those it needs are ready. */
async function startAll(context: Context, present: readonly Part[], log: StackOptions["log"]): Promise<void> {
  const turns = new Map<PartName, PromiseWithResolvers<void>>();
  for (const { name } of present) turns.set(name, Promise.withResolvers());
  // Whoever waits for a part hears of its failure; nobody else has to.
  for (const turn of turns.values()) turn.promise.catch(() => {});
  await runTasks(
    present.map((part) => ({
      title: part.title,
      run: async ({ begin }) => {
        try {
          for (const need of part.needs) {
            await turns.get(need)?.promise.catch((cause: unknown) => {
              throw new Error(`${part.title} was not started, for ${partOf(need).title} is not ready`, { cause });
            });
          }
          begin();
          const outcome = await ensureStarted(context, part);
          turns.get(part.name)?.resolve();
          return outcome;
        } catch (error) {
          turns.get(part.name)?.reject(error);
          throw error;
        }
      },
    })),
    log,
  );
}

/** Ends every process of the stack and forgets its data. Logs and port numbers stay. */
export async function stopStack(name = "default"): Promise<void> {
  const dir = stackDir(name);
  if (!existsSync(dir)) return;
  await exclusively(dir, async () => {
    await stopProducts({ STACK_DIR: dir });
    // etcd last: without it the control plane waits instead of stopping.
    const others = partNames.filter((part) => part !== "etcd");
    await Promise.all(others.map((part) => ensureStopped(dir, part, stopSignal(part))));
    await ensureStopped(dir, "etcd", "SIGTERM");
    wipe(dir);
  });
}

export function stackStatus(name = "default"): PartStatus[] {
  const dir = stackDir(name);
  return parts(readState(dir).node !== undefined).map(({ name: part }) => {
    const running = runningProcess(dir, part);
    const state = running ? "running" : recordedProcess(dir, part) ? "dead" : "stopped";
    return { part, state, pid: running?.pid };
  });
}

/** What `startStack` returned, for whoever comes later. */
export function readStackEnv(name = "default"): StackEnv {
  const env = readEnv(stackDir(name));
  if (!env) throw new Error(`The stack "${name}" is not up: start it with "make stack-up".`);
  return env;
}

/** Stops one part and keeps its data, to see what the others do without it. SIGKILL is a crash. */
export async function stopPart(name: string, part: PartName, signal: NodeJS.Signals = stopSignal(part)): Promise<void> {
  await ensureStopped(stackDir(name), part, signal);
}

/** Starts one part again with its data, on the same port. */
export async function startPart(name: string, part: PartName): Promise<void> {
  const dir = stackDir(name);
  const state = readState(dir);
  if (!state.obtained) throw new Error(`The stack "${name}" was never up: start it with "make stack-up".`);
  await ensureStarted(makeContext(name, dir, state as State), partOf(part));
}

/** One command at a time may change a stack. */
const exclusively = <T>(dir: string, work: () => Promise<T>): Promise<T> =>
  withLock(join(dir, "lock"), () => console.error("waiting for another command on this stack to end"), work);
