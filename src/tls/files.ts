/** The webhook's side: certificate files of a mounted Secret, which may arrive late and change at any time. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";

/** PEM; the two belong together. */
export interface TLSMaterial {
  readonly cert: string;
  readonly key: string;
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
 * Looks at the directory every few seconds: a watch on it would miss a swap of the kubelet's links on some systems, and
 * the kubelet itself takes up to a minute. A pair that does not fit (half written) is left alone until it does.
 */
export function makeTLSFiles(deps: {
  readonly directory: string;
  /** Where the clients' CA stands, where they are asked for a certificate. */
  readonly clientCAFile?: string | undefined;
  readonly log: Log;
  readonly pollMs?: number;
}): TLSFiles {
  const { directory, log } = deps;
  const listeners = new Set<(material: TLSMaterial) => void>();
  let current: TLSMaterial | undefined;
  /** Said already: each kind of failure is one line, not one for each look. */
  let failure: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let stopped = false;

  const say = (problem: string | undefined): void => {
    if (problem !== undefined && problem !== failure)
      log.warn("failed to read a usable certificate", { directory, problem });
    failure = problem;
  };

  const look = async (): Promise<void> => {
    const found = await read(directory, deps.clientCAFile);
    if (typeof found === "string") return say(found);
    say(undefined);
    const { cert, key, clientCA } = found;
    if (cert === current?.cert && key === current.key && clientCA === current.clientCA) return;
    current = found;
    log.info("loaded certificate", { until: new Date(found.notAfter) });
    for (const listener of listeners) listener(found);
  };

  const again = (): void => {
    if (stopped) return;
    const pause = deps.pollMs ?? (current === undefined ? UNTIL_FIRST_MS : AFTERWARDS_MS);
    timer = setTimeout(() => {
      looking = look().finally(again);
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
      await look();
      again();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await looking;
    },
  };
}

/** What is there, or why it cannot be used. Never throws. */
async function read(directory: string, clientCAFile: string | undefined): Promise<TLSMaterial | string> {
  const clientCA = clientCAFile === undefined ? undefined : await readCA(clientCAFile);
  if (clientCA instanceof Error) return clientCA.message;
  try {
    // The kubelet swaps the link ..data: following it once reads both files from the same side of the swap.
    const folder = await realpath(join(directory, "..data")).catch(() => directory);
    const [cert, key] = await Promise.all([
      readFile(join(folder, "tls.crt"), "utf8"),
      readFile(join(folder, "tls.key"), "utf8"),
    ]);
    const certificate = new X509Certificate(cert);
    const fits = certificate.checkPrivateKey(createPrivateKey(key));
    const notAfter = certificate.validToDate.getTime();
    return fits ? { cert, key, notAfter, clientCA } : "tls.crt and tls.key do not belong together";
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    return code === "ENOENT" ? "tls.crt and tls.key are not there yet" : `tls.crt or tls.key cannot be read (${code})`;
  }
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
