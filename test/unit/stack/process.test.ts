import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { isAlive } from "../../../stack/identity.ts";
import { findMarked, launch, run, terminate } from "../../../stack/process.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "stack-test-"))));
afterEach(() => rmSync(dir, { recursive: true }));

const sh = (script: string) => ({ file: "/bin/sh", args: ["-c", script] });

describe("a launched program", () => {
  it("writes into its log and is found by its mark", async () => {
    const log = join(dir, "log");
    const running = await launch(sh("echo hello; exec sleep 60"), log, dir);
    await expect.poll(() => readFileSync(log, "utf8")).toBe("hello\n");
    // In the middle of its exec a process has no environment to read.
    await expect.poll(() => findMarked(dir).map(({ pid }) => pid)).toContain(running.pid);
    await terminate(running, "SIGTERM");
    expect(isAlive(running)).toBe(false);
    expect(findMarked(dir)).toEqual([]);
  });

  it("is killed with its children when it does not listen", async () => {
    const log = join(dir, "log");
    const running = await launch(sh('trap "" TERM; sleep 60 & echo started; while :; do sleep 1; done'), log, dir);
    await expect.poll(() => readFileSync(log, "utf8")).toBe("started\n");
    await terminate(running, "SIGTERM", 200);
    await expect.poll(() => findMarked(dir)).toEqual([]);
  });

  it("leaves another process alone that got the pid meanwhile", async () => {
    const unmanagedUser = await launch(sh("exec sleep 60"), join(dir, "log"), dir);
    await terminate({ ...unmanagedUser, startTime: "1" }, "SIGKILL");
    expect(isAlive(unmanagedUser)).toBe(true);
    await terminate(unmanagedUser, "SIGKILL");
  });
});

describe("a program run to its end", () => {
  it("says in its error what the program said", async () => {
    await expect(run(sh("echo no such thing >&2; exit 3"))).rejects.toThrow("no such thing");
  });
});
