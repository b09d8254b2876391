/** The way to the operator's port: through the API server, by kubectl, with the rights of whoever sits at the terminal. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { EXIT, failure, PluginError } from "./exit.ts";
import { printable } from "./text.ts";

/** As manifests/deploy sets OPERATOR_ADDRESS. */
export const OPERATOR_PORT = 8082;
const DEADLINE_MS = 20_000;

export interface Tunnel {
  readonly url: string;
  close(): void;
}

export interface TunnelTo {
  readonly namespace: string;
  readonly pod: string;
  /** --kubeconfig and --context, where they were given. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Listens on a port of this machine that kubectl chooses, until closed. */
export async function openTunnel({ namespace, pod, flags, env }: TunnelTo, signal: AbortSignal): Promise<Tunnel> {
  const args = ["port-forward", ...flags, "-n", namespace, `pod/${pod}`, `:${OPERATOR_PORT}`, "--address", "127.0.0.1"];
  const child = spawn("kubectl", args, { env: { ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const close = (): void => void child.kill();
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString("utf8")));
  try {
    const port = await new Promise<string>((resolve, reject) => {
      const late = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
      late.addEventListener("abort", () =>
        reject(failed(namespace, `kubectl said nothing for ${DEADLINE_MS / 1000} s`)),
      );
      child.once("error", (error) => reject(noKubectl(error)));
      child.once("close", () => reject(failed(namespace, complaint)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const [, found] = /^Forwarding from 127\.0\.0\.1:(\d+) ->/.exec(line) ?? [];
        if (found !== undefined) resolve(found);
      });
    });
    return { url: `http://127.0.0.1:${port}`, close };
  } catch (error) {
    close();
    throw error;
  }
}

function noKubectl(cause: Error): PluginError {
  return failure("The program kubectl was not found on the PATH; this needs its port-forward.", cause);
}

function failed(namespace: string, complaint: string): PluginError {
  const said = printable(complaint).slice(0, 400);
  if (/forbidden/i.test(said)) {
    return new PluginError(
      EXIT.forbidden,
      `You may not port-forward to the reconciler in namespace ${namespace}: ask the platform for the Role unified-rbac-oncall there.`,
    );
  }
  return failure(`The port-forward to the reconciler failed: ${said === "" ? "kubectl ended" : said}.`);
}
