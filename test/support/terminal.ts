/** Somebody at a terminal: a kubeconfig with rights of their own, kubectl, and the plugin as it is installed. */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { StackEnv } from "../../stack/index.ts";
import { applyText, kubectl } from "../../stack/kube.ts";
import { projectRoot } from "../../stack/paths.ts";

export interface Typed {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export interface Terminal {
  /** What the cluster calls whoever sits here. */
  readonly user: string;
  readonly folder: string;
  /** Runs one line as a shell would, and gives what was printed. */
  type(line: string, env?: Readonly<Record<string, string>>): Promise<Typed>;
  close(): Promise<void>;
}

export interface Rights {
  /** May see and patch people, and look at the rest. */
  readonly people: boolean;
  /** May forward to the operator's port. */
  readonly books: boolean;
}

/**
 * A ServiceAccount in a namespace of its own, bound to the shipped roles as `rights` says. Without `opsURL` the plugin forwards
 * a port to a Pod.
 */
export async function openTerminal(env: StackEnv, name: string, rights: Rights, opsURL?: string): Promise<Terminal> {
  const folder = mkdtempSync(join(tmpdir(), `unified-rbac-${name}-`));
  const account = { kind: "ServiceAccount", name, namespace: name };
  const roleRef = (kind: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name: "unified-rbac-oncall" });
  const rbac = "rbac.authorization.k8s.io/v1";
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: name } },
    ...(rights.people
      ? [
          {
            apiVersion: rbac,
            kind: "ClusterRoleBinding",
            metadata: { name },
            roleRef: roleRef("ClusterRole"),
            subjects: [account],
          },
        ]
      : []),
    ...(rights.books
      ? [
          {
            apiVersion: rbac,
            kind: "RoleBinding",
            metadata: { name, namespace: "unified-rbac-system" },
            roleRef: roleRef("Role"),
            subjects: [account],
          },
        ]
      : []),
  ];
  await applyText(env, objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  const token = (await kubectl(env, ["create", "token", name, "-n", name, "--duration", "1h"])).trim();
  const kubeconfig = join(folder, "kubeconfig");
  const ca = readFileSync(env.KUBE_CA_FILE).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "stack", cluster: { server: env.KUBE_API_URL, "certificate-authority-data": ca } }],
    users: [{ name, user: { token } }],
    contexts: [{ name: "night", context: { cluster: "stack", user: name } }],
    "current-context": "night",
  };
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const program = join(projectRoot, "dist", "kubectl-tenantuser.js");
  writeFileSync(join(bin, "kubectl-tenantuser"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  chmodSync(join(bin, "kubectl-tenantuser"), 0o755);
  const path = `${bin}:${dirname(env.KUBECTL)}:${process.env["PATH"] ?? ""}`;

  return {
    user: `system:serviceaccount:${name}:${name}`,
    folder,
    type: (line, more = {}) =>
      new Promise((resolve) => {
        const its = {
          PATH: path,
          HOME: folder,
          KUBECONFIG: kubeconfig,
          ...(opsURL && { UNIFIED_RBAC_OPS_URL: opsURL }),
          ...more,
        };
        execFile("sh", ["-c", line], { env: its, cwd: folder }, (error, out, err) => {
          const code: unknown = error === null ? 0 : error.code;
          resolve({ exit: typeof code === "number" ? code : -1, out, err });
        });
      }),
    async close() {
      rmSync(folder, { recursive: true, force: true });
      await kubectl(env, ["delete", "clusterrolebinding", name, "--ignore-not-found"]);
      await kubectl(env, ["delete", "rolebinding", name, "-n", "unified-rbac-system", "--ignore-not-found"]);
      await kubectl(env, ["delete", "namespace", name, "--wait=false"]);
    },
  };
}
