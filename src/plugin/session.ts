/** What a command works with: who sits there, which cluster, how to print. Opened when it is needed, closed at the end. */
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";
import { stringify } from "yaml";
import { contextOf, fromKubeconfig } from "../kube/access.ts";
import { makeConnection } from "../kube/connection.ts";
import { systemClock } from "../lib/clock.ts";
import { type Books, openBooks } from "./books.ts";
import { type ClusterView, viewCluster } from "./cluster.ts";
import { EXIT, PluginError } from "./exit.ts";
import { type Paint, paintFor, printable } from "./text.ts";
import { openTunnel, type Tunnel } from "./tunnel.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The process around a command, as far as it is used. */
export interface Terminal {
  readonly env: Environment;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly now: () => Date;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export const FORMATS = ["wide", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

/** Options that every command has. */
export interface Shared {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly operatorNamespace?: string;
  readonly opsUrl?: string;
  readonly output?: Format;
}

export interface Session {
  readonly paint: Paint;
  readonly format: Format | undefined;
  readonly operatorNamespace: string;
  readonly signal: AbortSignal;
  /** Somebody is there to answer questions. */
  readonly interactive: boolean;
  now(): Date;
  /** To stdout, as it is. */
  out(text: string): void;
  /** To stderr: what is no result. */
  note(text: string): void;
  /** The value as -o json or -o yaml wants it; false: neither was wanted. */
  data(value: unknown): boolean;
  /** -n, else the context's. */
  namespace(): Promise<string>;
  cluster(): Promise<ClusterView>;
  books(): Promise<Books>;
  /** One line, without its end. */
  ask(question: string): Promise<string>;
  close(): void;
}

const DEFAULT_OPERATOR_NAMESPACE = "unified-rbac-system";

export function openSession(terminal: Terminal, shared: Shared): Session {
  const { env, stdin, stdout, stderr, signal } = terminal;
  const paths = shared.kubeconfig ?? (env["KUBECONFIG"] || join(env["HOME"] ?? "", ".kube", "config"));
  const operatorNamespace = shared.operatorNamespace ?? (env["UNIFIED_RBAC_NAMESPACE"] || DEFAULT_OPERATOR_NAMESPACE);
  let opened: ClusterView | undefined;
  let tunnel: Tunnel | undefined;

  const cluster = async (): Promise<ClusterView> => {
    opened ??= await readable(paths, async () => {
      const { name } = await contextOf(paths, shared.context);
      const access = await fromKubeconfig({ clock: systemClock }, paths, shared.context);
      return viewCluster(makeConnection(access, { clock: systemClock }), name, signal);
    });
    return opened;
  };

  const wayToBooks = async (view: ClusterView): Promise<string> => {
    const given = shared.opsUrl ?? env["UNIFIED_RBAC_OPS_URL"] ?? "";
    if (given !== "") return urlOf(given);
    const pod = (await view.pods(operatorNamespace)).find(({ reconciles }) => reconciles);
    if (pod === undefined) {
      throw new PluginError(
        EXIT.failed,
        `No reconciler runs in namespace ${operatorNamespace} (kubectl get pods -n ${operatorNamespace}); say --operator-namespace if it is installed elsewhere.`,
      );
    }
    const flags = [
      ...(shared.kubeconfig === undefined ? [] : ["--kubeconfig", shared.kubeconfig]),
      ...(shared.context === undefined ? [] : ["--context", shared.context]),
    ];
    tunnel = await openTunnel({ namespace: operatorNamespace, pod: pod.name, flags, env }, signal);
    return tunnel.url;
  };

  return {
    paint: paintFor(stdout, env),
    format: shared.output,
    operatorNamespace,
    signal,
    interactive: stdin.isTTY === true && stdout.isTTY === true,
    now: terminal.now,
    out: (text) => void stdout.write(text),
    note: (text) => void stderr.write(`${printable(text)}\n`),
    data(value) {
      if (shared.output === "json") stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
      else if (shared.output === "yaml") stdout.write(stringify(value, { lineWidth: 0 }));
      else return false;
      return true;
    },
    namespace: async () =>
      shared.namespace ?? (await readable(paths, () => contextOf(paths, shared.context))).namespace ?? "default",
    cluster,
    async books() {
      const view = await cluster();
      const by = await view.whoAmI();
      return openBooks(await wayToBooks(view), by, signal);
    },
    async ask(question) {
      const lines = createInterface({ input: stdin, output: stdout });
      const left = new AbortController();
      // Ctrl-C and Ctrl-D answer nothing, and a question without an answer would wait for ever.
      for (const event of ["SIGINT", "close"] as const) lines.once(event, () => left.abort());
      try {
        return await lines.question(question, { signal: AbortSignal.any([signal, left.signal]) });
      } catch (error) {
        if (!left.signal.aborted) throw error;
        throw new PluginError(EXIT.failed, "Nobody answered: nothing was changed.", error);
      } finally {
        lines.close();
      }
    },
    close() {
      opened?.close();
      tunnel?.close();
    },
  };
}

async function readable<T>(paths: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PluginError) throw error;
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const detail = error instanceof Error ? printable(error.message) : "it is unreadable";
    throw new PluginError(
      EXIT.failed,
      missing
        ? `There is no kubeconfig at ${paths}: set KUBECONFIG or --kubeconfig.`
        : `The kubeconfig cannot be used: ${detail}.`,
      error,
    );
  }
}

function urlOf(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new PluginError(EXIT.usage, "--ops-url must be a URL, for example http://127.0.0.1:8082.");
}
