/** A Docker of our own for one build: in namespaces, with its data in the cache, and nothing of it left on the machine. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { lastLines } from "../files.ts";
import { cacheRoot } from "../paths.ts";
import { run } from "../process.ts";

/** Runs docker with these arguments and gives what it prints. */
export type Docker = (...args: readonly string[]) => Promise<string>;

const START_MS = 60_000;
export const BUILD_CGROUP = "unified-rbac-build";

/** The machine's own Docker where it answers, else one that is started for `work` and ends with it. Needs root then. */
export async function withDocker<T>(work: (docker: Docker) => Promise<T>): Promise<T> {
  const present: Docker = (...args) => run({ file: "docker", args });
  if (
    await present("version").then(
      () => true,
      () => false,
    )
  ) {
    return work(present);
  }
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-docker-"));
  const data = join(cacheRoot(), "docker");
  mkdirSync(data, { recursive: true });
  const log = join(folder, "log");
  const out = openSync(log, "a");
  const socket = `unix://${join(folder, "socket")}`;
  const options = [
    `--data-root=${data}`,
    `--exec-root=${join(folder, "run")}`,
    `--pidfile=${join(folder, "pid")}`,
    `--host=${socket}`,
    `--cgroup-parent=/${BUILD_CGROUP}`,
    // With its network Docker would change forwarding and the firewall of the machine.
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
  ];
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation=private"];
  // If this process is killed, so is Docker.
  const daemon = spawn("setpriv", ["--pdeathsig=KILL", "unshare", ...namespaces, "dockerd", ...options], {
    stdio: ["ignore", out, out],
    env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
  });
  const ended = new Promise<void>((resolve) => daemon.once("close", () => resolve()).once("error", () => resolve()));
  const docker: Docker = (...args) => run({ file: "docker", args: ["--host", socket, ...args] });
  try {
    for (const until = Date.now() + START_MS; ; await sleep(200)) {
      if (
        await docker("version").then(
          () => true,
          () => false,
        )
      ) {
        break;
      }
      if (daemon.exitCode !== null || Date.now() > until)
        throw new Error(`Docker does not start:\n${lastLines(log, 10)}`);
    }
    return await work(docker);
  } finally {
    daemon.kill("SIGKILL");
    await ended;
    const clean = `find /sys/fs/cgroup -depth -type d -path '*/${BUILD_CGROUP}*' -exec rmdir {} + 2>/dev/null; true`;
    await run({ file: "sh", args: ["-c", clean] });
    rmSync(folder, { recursive: true, force: true });
  }
}
