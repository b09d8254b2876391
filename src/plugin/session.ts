/** What a command works with: who sits there, which cluster, how to print. Opened when it is needed, closed at the end. */
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";
import { KubeconfigError, openPersonalCluster, readContext } from "../kube/personal.ts";
import { type OperatorClient, openOperatorClient } from "./operatorClient.ts";
import { type ClusterView, viewCluster } from "./cluster.ts";
import { EXIT, failure, PluginError } from "./exit.ts";
import { type Paint, paintFor, printable } from "./text.ts";
import { openTunnel, type Tunnel } from "./tunnel.ts";
import { shell } from "../lib/shell.ts";
import { shown, shownJSON } from "../lib/text.ts";
import { toYAML } from "../lib/yaml.ts";

export type ProcessEnvironment = Readonly<Record<string, string | undefined>>;

/** The process around a command, as far as it is used. */
export interface PluginTerminal {
  readonly env: ProcessEnvironment;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly now: () => Date;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export const FORMATS = ["wide", "json", "yaml"] as const;
export type OutputFormat = (typeof FORMATS)[number];

/** Options that every command has. */
export interface Shared {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly operatorNamespace?: string;
  readonly opsUrl?: string;
  readonly output?: OutputFormat;
}

export interface CommandSession {
  readonly paint: Paint;
  readonly format: OutputFormat | undefined;
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
  operator(): Promise<OperatorClient>;
  /** One line, without its end. */
  ask(question: string): Promise<string>;
  close(): void;
}

const DEFAULT_OPERATOR_NAMESPACE = "unified-rbac-system";

export function openSession(terminal: PluginTerminal, shared: Shared): CommandSession {
  const { env, stdin, stdout, stderr, signal } = terminal;
  const paths = shared.kubeconfig ?? (env["KUBECONFIG"] || join(env["HOME"] ?? "", ".kube", "config"));
  const operatorNamespace = shared.operatorNamespace ?? (env["UNIFIED_RBAC_NAMESPACE"] || DEFAULT_OPERATOR_NAMESPACE);
  let opened: ClusterView | undefined;
  let tunnel: Tunnel | undefined;

  const cluster = async (): Promise<ClusterView> => {
    opened ??= viewCluster(await readable(paths, openPersonalCluster({ paths, context: shared.context }, signal)));
    return opened;
  };

  const operatorURL = async (view: ClusterView): Promise<string> => {
    const given = shared.opsUrl ?? env["UNIFIED_RBAC_OPS_URL"] ?? "";
    if (given !== "") return urlOf(given);
    const pod = (await view.pods(operatorNamespace)).find(({ reconciles }) => reconciles);
    if (pod === undefined) {
      throw failure(
        `No reconciler runs in namespace ${operatorNamespace} (${shell`kubectl get pods -n ${operatorNamespace}`}); say --operator-namespace if it is installed elsewhere.`,
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
    out: (text) => void stdout.write(shown(text)),
    note: (text) => void stderr.write(`${printable(text)}\n`),
    data(value) {
      if (shared.output === "json") stdout.write(`${shownJSON(JSON.stringify(value, undefined, 2))}\n`);
      else if (shared.output === "yaml") stdout.write(shown(toYAML(value)));
      else return false;
      return true;
    },
    namespace: async () =>
      shared.namespace ??
      (await readable(paths, readContext({ paths, context: shared.context }))).namespace ??
      "default",
    cluster,
    async operator() {
      const view = await cluster();
      const by = await view.whoAmI();
      return openOperatorClient(await operatorURL(view), by, signal);
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
        throw failure("Nobody answered: nothing was changed.", error);
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

async function readable<T>(paths: string, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    if (!(error instanceof KubeconfigError)) throw error;
    const { cause, message } = error;
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    throw failure(
      isMissing
        ? `There is no kubeconfig at ${paths}: set KUBECONFIG or --kubeconfig.`
        : `The kubeconfig cannot be used: ${printable(message)}.`,
      error,
    );
  });
}

function urlOf(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new PluginError(EXIT.usage, "--ops-url must be a URL, for example http://127.0.0.1:8082.");
}
