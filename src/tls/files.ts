/**
 * The webhook's side: certificate files, which may arrive late and change at any time. They come from a mounted Secret,
 * and from the reconciler of the same Pod: the kubelet takes about a minute to deliver a Secret that did not exist when
 * the Pod started.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { type CertificatePair, type FoundPair, type NoPair, readPair } from "./folder.ts";

export interface TLSMaterial extends CertificatePair {
  /** End of validity, milliseconds since the epoch. */
  readonly notAfter: number;
  /** PEM of the CA whose clients are let in; absent: there is no such file. */
  readonly clientCA?: string | undefined;
}

export interface TLSFiles extends Part {
  /** Calls the listener with what is there already, and with every later one. Returns the way to stop that. */
  subscribe(listener: (material: TLSMaterial) => void): () => void;
}

const UNTIL_FIRST_MS = 500;
const AFTERWARDS_MS = 5_000;

/**
 * Polls the directories every few seconds: a watch on them would miss a swap of links on some systems. Of several pairs
 * the newest valid one counts. A pair that does not fit (half written) is left alone until it does.
 */
export function makeTLSFiles(deps: {
  readonly directories: readonly string[];
  /** Where the clients' CA stands, where they are asked for a certificate. */
  readonly clientCAFile?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly pollMs?: number;
}): TLSFiles {
  const { directories, clock, log } = deps;
  const listeners = new Set<(material: TLSMaterial) => void>();
  let current: TLSMaterial | undefined;
  /** Logged already: each kind of failure is one line, not one for each poll. */
  let failure: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let polling: Promise<void> | undefined;
  let stopped = false;

  const report = (problem: { readonly directory: string; readonly problem: string } | undefined): void => {
    const text = problem && `${problem.directory}: ${problem.problem}`;
    if (problem !== undefined && text !== failure) log.warn("failed to read a usable certificate", problem);
    failure = text;
  };

  const poll = async (): Promise<void> => {
    const clientCA = deps.clientCAFile === undefined ? undefined : await readCA(deps.clientCAFile);
    if (clientCA instanceof Error) return report({ directory: directories.join(", "), problem: clientCA.message });
    const found = await Promise.all(
      directories.map(async (directory) => ({ directory, pair: await readPair(directory) })),
    );
    const pair = newestValid(
      found.flatMap((each) => ("problem" in each.pair ? [] : [each.pair])),
      clock.now(),
    );
    report(problemOf(found, pair !== undefined));
    if (pair === undefined) return;
    const { cert, key, notAfter } = pair;
    if (cert === current?.cert && key === current.key && clientCA === current.clientCA) return;
    current = { cert, key, notAfter, clientCA };
    log.info("loaded certificate", { until: new Date(notAfter) });
    for (const listener of listeners) listener(current);
  };

  const again = (): void => {
    if (stopped) return;
    const pause = deps.pollMs ?? (current === undefined ? UNTIL_FIRST_MS : AFTERWARDS_MS);
    timer = setTimeout(() => {
      polling = poll().finally(again);
    }, pause);
  };

  return {
    name: "certificate files",
    subscribe(listener) {
      listeners.add(listener);
      if (current !== undefined) listener(current);
      return () => void listeners.delete(listener);
    },
    async start() {
      await poll();
      again();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await polling;
    },
  };
}

/** The one that became valid last, of those that are valid now; where none is, of all. At a tie the first. */
export function newestValid(pairs: readonly FoundPair[], now: number): FoundPair | undefined {
  const valid = pairs.filter(({ notBefore, notAfter }) => notBefore <= now && now < notAfter);
  const [newest] = (valid.length > 0 ? valid : pairs).toSorted((a, b) => b.notBefore - a.notBefore);
  return newest;
}

interface Read {
  readonly directory: string;
  readonly pair: FoundPair | NoPair;
}

/** What somebody has to know: where nothing is usable, why; otherwise only what is there and cannot be used. */
function problemOf(
  found: readonly Read[],
  usable: boolean,
): { readonly directory: string; readonly problem: string } | undefined {
  const problems = found.flatMap(({ directory, pair }) => ("problem" in pair ? [{ directory, ...pair }] : []));
  const broken = problems.find(({ absent }) => !absent);
  if (broken !== undefined) return { directory: broken.directory, problem: broken.problem };
  const [absent] = problems;
  if (usable || absent === undefined) return undefined;
  return { directory: problems.map(({ directory }) => directory).join(", "), problem: absent.problem };
}

async function readCA(path: string): Promise<string | Error> {
  try {
    const ca = await readFile(path, "utf8");
    // Throws on anything else; of several it reads the first.
    void new X509Certificate(ca);
    return ca;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    return new Error(`the clients' CA ${path} cannot be read (${code})`);
  }
}
