/** Stores that are lost, whole, on the running stack. Each comes back empty. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";

import { type PartName, startPart, stopPart, type StackEnv } from "../../stack/index.ts";
import { readState } from "../../stack/state.ts";

/** The product must not run: it would look for tables that are not there. */
export async function loseDatabase({ STACK_NAME, POSTGRES_URL, DATABASE_URL }: StackEnv): Promise<void> {
  const client = new Client({ connectionString: POSTGRES_URL });
  await client.connect();
  await client.query(`drop database "${new URL(DATABASE_URL).pathname.slice(1)}" with (force)`);
  await client.end();
  // It makes an empty one where there is none.
  await startPart(STACK_NAME, "postgres");
}

/** Everything that etcd holds: the cluster that then comes up has another id, and neither objects nor definitions. */
export async function loseCluster(env: StackEnv): Promise<void> {
  const onTop: PartName[] = ["controller-manager", "source-controller", "kustomize-controller"];
  await Promise.all([...onTop, "apiserver" as const].map((part) => stopPart(env.STACK_NAME, part)));
  await lose(env, "etcd");
  await startPart(env.STACK_NAME, "apiserver");
  await Promise.all(onTop.map((part) => startPart(env.STACK_NAME, part)));
}

/** Streams, their messages and consumers. */
export const loseStreams = (env: StackEnv): Promise<void> => lose(env, "nats");

async function lose({ STACK_NAME, STACK_DIR }: StackEnv, part: "etcd" | "nats"): Promise<void> {
  await stopPart(STACK_NAME, part);
  rmSync(join(STACK_DIR, "data", part), { recursive: true, force: true });
  await startPart(STACK_NAME, part);
}

/** One object goes from etcd while no API server looks: nobody is ever told of a deletion. */
export async function loseObject({ STACK_NAME, STACK_DIR }: StackEnv, key: string): Promise<void> {
  await stopPart(STACK_NAME, "apiserver");
  try {
    const answer = await fetch(`http://127.0.0.1:${readState(STACK_DIR).ports?.etcd}/v3/kv/deleterange`, {
      method: "POST",
      body: JSON.stringify({ key: Buffer.from(key).toString("base64") }),
    });
    const { deleted } = (await answer.json()) as { deleted?: string };
    if (deleted !== "1") throw new Error(`etcd has no ${key}`);
  } finally {
    await startPart(STACK_NAME, "apiserver");
  }
}
