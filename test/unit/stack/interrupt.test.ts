import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

import { projectRoot, stackDir } from "../../../stack/paths.ts";
import { startMark } from "../../../stack/context.ts";
import { findMarked } from "../../../stack/process.ts";

test("whoever is interrupted while it starts parts leaves none of them behind, nor the stack", async () => {
  const name = `interrupt-${process.pid}`;
  const dir = stackDir(name);
  for (const folder of ["run", "data", "logs"]) mkdirSync(join(dir, folder), { recursive: true });
  const mark = startMark(dir, "nats");
  const starting = spawn(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `import { stopStackWhenInterrupted } from ${JSON.stringify(join(projectRoot, "stack", "index.ts"))};
       import { launch } from ${JSON.stringify(join(projectRoot, "stack", "process.ts"))};
       import { withLock } from ${JSON.stringify(join(projectRoot, "stack", "lock.ts"))};
       stopStackWhenInterrupted(${JSON.stringify(name)});
       await withLock(${JSON.stringify(join(dir, "lock"))}, () => {}, async () => {
         for (;;) {
           await launch({ file: "sleep", args: ["300"] }, ${JSON.stringify(join(dir, "logs", "nats.log"))}, ${JSON.stringify(mark)});
           console.log("started");
           await new Promise((resolve) => setTimeout(resolve, 20));
         }
       });`,
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  try {
    await once(starting.stdout, "data");
    starting.kill("SIGINT");
    const [code] = (await once(starting, "exit")) as [number];
    expect(code).toBe(130);
    await expect.poll(() => findMarked(mark), { timeout: 20_000 }).toEqual([]);
    await expect.poll(() => existsSync(join(dir, "data")), { timeout: 20_000 }).toBe(false);
  } finally {
    starting.kill("SIGKILL");
    for (const { pid } of findMarked(mark)) process.kill(pid, "SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
}, 60_000);
