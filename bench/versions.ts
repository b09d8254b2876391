/** What was measured against: asked of the parts that tell, read from the locks of the others. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import * as z from "zod";

import { lockDir, projectRoot } from "../stack/paths.ts";
import type { Environment } from "./environment.ts";

export async function versionsOf({ env, api }: Environment): Promise<Readonly<Record<string, string>>> {
  const kubernetes = z.object({ gitVersion: z.string() }).parse(await api.send({ method: "GET", path: "/version" }));
  const nats = z.object({ version: z.string() }).parse(await (await fetch(`${env.NATS_MONITOR_URL}/varz`)).json());
  const keycloak = z
    .object({ version: z.string() })
    .parse(JSON.parse(readFileSync(join(lockDir("keycloak"), "lock.json"), "utf8")));
  return {
    commit: execFileSync("git", ["describe", "--always", "--dirty"], { cwd: projectRoot, encoding: "utf8" }).trim(),
    Kubernetes: kubernetes.gitVersion,
    Postgres: await postgres(env.POSTGRES_URL),
    Keycloak: keycloak.version,
    NATS: nats.version,
    "kustomize-controller": required("kustomize-controller", "github.com/fluxcd/kustomize-controller"),
  };
}

async function postgres(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version: string }>("show server_version");
    return rows[0]?.server_version ?? "unknown";
  } finally {
    await client.end();
  }
}

function required(part: string, module: string): string {
  const text = readFileSync(join(lockDir(part), "go.mod"), "utf8");
  return new RegExp(`${module} (v\\S+)`).exec(text)?.[1] ?? "unknown";
}
