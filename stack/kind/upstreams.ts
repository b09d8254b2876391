/** The upstreams of a kind cluster: how this machine reaches them, and what an administrator sets up in them once. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import * as z from "zod";

import type { StackEnv } from "../env.ts";
import { applyText, kubectl } from "../kube.ts";
import { DATABASE_ROLES } from "../parts/postgres.ts";

const FLUX = "https://github.com/fluxcd/flux2/releases/download/v2.9.2/install.yaml";
const NAMESPACES = ["postgres", "nats", "keycloak", "gitea", "newapi"] as const;
const GITEA_ADMIN = "stack-admin";
/** As Flux's Pods find the repositories. */
export const GITEA_INSIDE = "http://gitea.gitea.svc:3000";

interface Passwords {
  readonly postgres: string;
  readonly keycloak: string;
  readonly gitea: string;
  readonly newapi: string;
}

const secret = (): string => randomBytes(18).toString("hex");
export const newPasswords = (): Passwords => ({
  postgres: secret(),
  keycloak: secret(),
  gitea: secret(),
  newapi: secret(),
});

/** What a stack's env file would say; the ports are those of cluster.yaml. */
export function kindEnv(dir: string, passwords: Passwords): StackEnv {
  const postgres = `postgres://postgres:${passwords.postgres}@127.0.0.1:30432`;
  return {
    STACK_NAME: "kind",
    STACK_DIR: dir,
    KUBECONFIG: join(dir, "kubeconfig"),
    KUBE_API_URL: "",
    KUBE_CA_FILE: "",
    KUBECTL: "kubectl",
    GITEA_URL: "http://127.0.0.1:30300",
    GITEA_ADMIN_USER: GITEA_ADMIN,
    GITEA_ADMIN_PASSWORD: passwords.gitea,
    GITEA_TOKEN: "",
    KEYCLOAK_URL: "http://127.0.0.1:30080",
    KEYCLOAK_ADMIN: "admin",
    KEYCLOAK_ADMIN_PASSWORD: passwords.keycloak,
    DATABASE_URL: `${postgres}/unified_rbac`,
    POSTGRES_URL: `${postgres}/postgres`,
    NATS_URL: "nats://127.0.0.1:30422",
    NATS_MONITOR_URL: "",
    NEWAPI_URL: "http://127.0.0.1:30030",
    NEWAPI_ADMIN_TOKEN: passwords.newapi,
    SOURCE_CONTROLLER_METRICS_URL: "",
    KUSTOMIZE_CONTROLLER_METRICS_URL: "",
  };
}

/** Applies Flux and the upstreams, waits until they are Ready, and gives the env with Gitea's token. */
export async function startUpstreams(env: StackEnv, passwords: Passwords): Promise<StackEnv> {
  await kubectl(env, ["apply", "--server-side", "-f", FLUX]);
  const namespaces = NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } }));
  const secrets = NAMESPACES.map((namespace) => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "passwords", namespace },
    stringData: passwords,
  }));
  await applyText(env, [...namespaces, ...secrets].map((object) => JSON.stringify(object)).join("\n---\n"));
  await applyText(env, readFileSync(join(import.meta.dirname, "upstreams.yaml"), "utf8"));
  const wait = (namespace: string): Promise<string> =>
    kubectl(env, ["wait", "-n", namespace, "--for=condition=Available", "--timeout=300s", "deployment", "--all"]);
  await Promise.all([...NAMESPACES, "flux-system"].map(wait));
  await prepareDatabase(env, passwords);
  return { ...env, GITEA_TOKEN: await giteaToken(env) };
}

async function prepareDatabase(env: StackEnv, { postgres }: Passwords): Promise<void> {
  const client = new Client({ connectionString: env.POSTGRES_URL });
  await client.connect();
  try {
    for (const role of Object.values(DATABASE_ROLES)) {
      await client.query(`CREATE ROLE "${role}" LOGIN PASSWORD '${postgres}'`);
    }
    await client.query("CREATE DATABASE unified_rbac");
  } finally {
    await client.end();
  }
}

const made = z.object({ sha1: z.string() });

async function giteaToken(env: StackEnv): Promise<string> {
  const account = ["--username", GITEA_ADMIN, "--password", env.GITEA_ADMIN_PASSWORD];
  const rest = ["--email", "admin@stack.example", "--admin", "--must-change-password=false"];
  const create = ["gitea", "admin", "user", "create", ...account, ...rest];
  await kubectl(env, ["exec", "-n", "gitea", "deployment/gitea", "--", ...create]);
  const basic = Buffer.from(`${GITEA_ADMIN}:${env.GITEA_ADMIN_PASSWORD}`).toString("base64");
  const answer = await fetch(`${env.GITEA_URL}/api/v1/users/${GITEA_ADMIN}/tokens`, {
    method: "POST",
    headers: { authorization: `Basic ${basic}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "stack", scopes: ["all"] }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok) throw new Error(`Gitea answered ${answer.status} when asked for a token`);
  return made.parse(await answer.json()).sha1;
}
