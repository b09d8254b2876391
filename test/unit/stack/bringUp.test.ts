/** Parts that stand in for the real ones: programs that answer, that end, and that wait for those. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeContext } from "../../../stack/context.ts";
import { readEnv } from "../../../stack/env.ts";
import type { Part } from "../../../stack/parts/part.ts";
import { choosePorts } from "../../../stack/ports.ts";
import { bringUp } from "../../../stack/stack.ts";
import { ensureStopped } from "../../../stack/start-part.ts";

const secrets = { gitea: "g", giteaInternal: "i", giteaJwt: "j", keycloak: "k", postgres: "p", newapi: "n" };
const answers: Part = {
  name: "nats",
  title: "NATS",
  needs: [],
  command: () => ({ file: "sleep", args: ["300"] }),
  ready: () => Promise.resolve(true),
};
const ends: Part = {
  name: "etcd",
  title: "etcd",
  needs: [],
  command: () => ({ file: "false", args: [] }),
  ready: () => Promise.resolve(false),
};
const follows: Part = { ...answers, name: "apiserver", title: "API server", needs: ["etcd"] };

async function context() {
  const dir = mkdtempSync(join(tmpdir(), "stack-"));
  for (const folder of ["data", "logs", "run"]) mkdirSync(join(dir, folder));
  onTestFinished(async () => {
    for (const { name } of [answers, ends, follows]) await ensureStopped(dir, name, "SIGKILL");
    rmSync(dir, { recursive: true });
  });
  const ports = await choosePorts({}, new Set());
  return makeContext("bring-up", dir, { ports, secrets, openDir: dir, obtained: { programs: {} } as never });
}

test("a stack of which one part does not come says which, and leaves the addresses of all", async () => {
  const on = await context();
  const lines: string[] = [];
  const failed = await bringUp(on, [answers, ends, follows], (line) => void lines.push(line)).catch(
    (error: unknown) => error,
  );
  expect(String(failed)).toContain("etcd ended instead of starting");
  expect(readEnv(on.dir)).toEqual(on.env);
  expect(lines).toContainEqual(expect.stringMatching(/^NATS: started/));
  expect(lines).toContainEqual(expect.stringContaining("API server was not started, for etcd is not ready"));
});

test("a stack that is up leaves its addresses", async () => {
  const on = await context();
  expect(await bringUp(on, [answers], () => undefined)).toEqual(readEnv(on.dir));
});
