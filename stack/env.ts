import { join } from "node:path";

import { readIfThere, writeAtomically } from "./files.ts";

/** Everything that a test, the demo or a shell needs to reach the stack. */
export const envKeys = [
  "STACK_NAME",
  "STACK_DIR",
  "KUBECONFIG",
  "KUBE_API_URL",
  "KUBE_CA_FILE",
  "KUBECTL",
  "GITEA_URL",
  "GITEA_ADMIN_USER",
  "GITEA_ADMIN_PASSWORD",
  "GITEA_TOKEN",
  "KEYCLOAK_URL",
  "KEYCLOAK_ADMIN",
  "KEYCLOAK_ADMIN_PASSWORD",
  "DATABASE_URL",
  "POSTGRES_URL",
  "NATS_URL",
  "NATS_MONITOR_URL",
  "NEWAPI_URL",
  "NEWAPI_ADMIN_TOKEN",
  "SOURCE_CONTROLLER_METRICS_URL",
  "KUSTOMIZE_CONTROLLER_METRICS_URL",
] as const;
export type EnvKey = (typeof envKeys)[number];
export type StackEnv = Readonly<Record<EnvKey, string>>;

export const envFile = (dir: string): string => join(dir, "env");

const quote = (value: string): string =>
  /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;

const unquote = (text: string): string => (text.startsWith("'") ? text.slice(1, -1).replaceAll(`'\\''`, "'") : text);

export function formatEnv(env: StackEnv): string {
  return envKeys.map((key) => `${key}=${quote(env[key])}\n`).join("");
}

export function parseEnv(text: string): StackEnv {
  const found: Partial<Record<EnvKey, string>> = {};
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    const key = envKeys.find((known) => known === line.slice(0, at));
    if (key !== undefined) found[key] = unquote(line.slice(at + 1));
  }
  const missing = envKeys.filter((key) => found[key] === undefined);
  if (missing.length > 0) throw new Error(`the stack's env file lacks ${missing.join(", ")}`);
  return found as StackEnv;
}

/** Mode 0600: it holds every password of the stack. */
export function writeEnv(dir: string, env: StackEnv): void {
  writeAtomically(envFile(dir), formatEnv(env), 0o600);
}

export function readEnv(dir: string): StackEnv | undefined {
  const text = readIfThere(envFile(dir));
  return text === undefined ? undefined : parseEnv(text);
}
