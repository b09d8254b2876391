import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { envFile, envKeys, formatEnv, parseEnv, readEnv, writeEnv, type StackEnv } from "../../../stack/env.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "stack env "))));
afterEach(() => rmSync(dir, { recursive: true }));

const env = (): StackEnv => ({
  ...(Object.fromEntries(envKeys.map((key) => [key, key.toLowerCase()])) as StackEnv),
  STACK_DIR: "/home/o'brien/my clone",
  DATABASE_URL: "postgres://postgres:secret@127.0.0.1:5432/unified_rbac",
});

describe("the env file", () => {
  it("is read back as it was written", () => {
    writeEnv(dir, env());
    expect(readEnv(dir)).toEqual(env());
  });

  it("gives a shell the same values", () => {
    writeEnv(dir, env());
    const script = `. "$1"; printf '%s|%s' "$STACK_DIR" "$DATABASE_URL"`;
    const said = execFileSync("/bin/sh", ["-c", script, "sh", envFile(dir)], { encoding: "utf8" });
    expect(said).toBe(`${env().STACK_DIR}|${env().DATABASE_URL}`);
  });

  it("is for its owner only, for it holds passwords", () => {
    writeEnv(dir, env());
    expect(statSync(envFile(dir)).mode & 0o777).toBe(0o600);
  });

  it("is not there before the stack was up", () => {
    expect(readEnv(dir)).toBeUndefined();
  });

  it("names what it lacks", () => {
    const cut = formatEnv(env()).replace(/^NATS_URL=.*\n/m, "");
    expect(() => parseEnv(cut)).toThrow("NATS_URL");
  });
});
