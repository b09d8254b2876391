import type { StackEnv } from "./env.ts";
import { readIfThere } from "./files.ts";
import { giteaTokenFile } from "./parts/gitea.ts";
import type { Context } from "./parts/part.ts";
import { kubeconfigFile, pkiFile } from "./pki.ts";
import type { State } from "./state.ts";
import { unprivilegedUser } from "./unprivileged.ts";

export function makeContext(name: string, dir: string, state: State): Context {
  return { ...state, name, dir, env: envOf(name, dir, state), user: unprivilegedUser() };
}

export function envOf(name: string, dir: string, { ports, secrets, obtained }: State): StackEnv {
  const http = (port: number): string => `http://127.0.0.1:${port}`;
  const postgres = `postgres://postgres:${secrets.postgres}@127.0.0.1:${ports.postgres}`;
  return {
    STACK_NAME: name,
    STACK_DIR: dir,
    KUBECONFIG: kubeconfigFile(dir, "admin"),
    KUBE_API_URL: `https://127.0.0.1:${ports.apiserver}`,
    KUBE_CA_FILE: pkiFile(dir, "ca.crt"),
    KUBECTL: obtained.programs["kubectl"] ?? "kubectl",
    GITEA_URL: http(ports.gitea),
    GITEA_ADMIN_USER: "stack-admin",
    GITEA_ADMIN_PASSWORD: secrets.gitea,
    GITEA_TOKEN: readIfThere(giteaTokenFile(dir)) ?? "",
    KEYCLOAK_URL: http(ports.keycloak),
    KEYCLOAK_ADMIN: "admin",
    KEYCLOAK_ADMIN_PASSWORD: secrets.keycloak,
    DATABASE_URL: `${postgres}/unified_rbac`,
    POSTGRES_URL: `${postgres}/postgres`,
    NATS_URL: `nats://127.0.0.1:${ports.nats}`,
    NATS_MONITOR_URL: http(ports.natsMonitor),
    NEWAPI_URL: http(ports.newapi),
    NEWAPI_ADMIN_TOKEN: secrets.newapi,
    SOURCE_CONTROLLER_METRICS_URL: `${http(ports.sourceMetrics)}/metrics`,
    KUSTOMIZE_CONTROLLER_METRICS_URL: `${http(ports.kustomizeMetrics)}/metrics`,
  };
}

/** What the environment of each process of a part says. */
export const startMark = (dir: string, part: string): string => `${dir}#${part}`;
