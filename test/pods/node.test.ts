/** A whole node that is cut off, as by a power failure. */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { afterAll, assert, beforeAll, expect, it } from "vitest";

import { addressesOf } from "../../stack/node/addresses.ts";
import { startPart } from "../../stack/index.ts";
import { run } from "../../stack/process.ts";
import { readState, recordedProcess } from "../../stack/state.ts";
import { openPods, type Pods } from "../support/pods.ts";
import type { TestTenant } from "../support/tenant.ts";

let pods: Pods;
let tenant: TestTenant;

beforeAll(async () => {
  pods = await openPods();
  await pods.settled();
  tenant = await pods.tenant("node");
});
afterAll(() => pods?.close());

/** What the kubelet would change on the whole machine. */
const sysctls = (): string[] =>
  ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"].map((name) =>
    readFileSync(`/proc/sys/${name}`, "utf8").trim(),
  );

it("leaves nothing on the machine when it is killed, and its Pods come back with it", async () => {
  const { STACK_DIR: dir, STACK_NAME: name } = pods.env;
  const { hostLink, cgroup } = addressesOf(readState(dir).node?.slot ?? 0);
  const traces = async (): Promise<string[]> => [
    ...Object.keys(networkInterfaces()).filter((link) => link === hostLink),
    ...(await run({ file: "find", args: ["/sys/fs/cgroup", "-maxdepth", "2", "-name", cgroup] }))
      .split("\n")
      .filter(Boolean),
  ];
  expect(await traces()).toContain(hostLink);
  const before = sysctls();
  const node = recordedProcess(dir, "node");
  assert(node !== undefined, "the node was never started");

  process.kill(node.pid, "SIGKILL");
  await expect.poll(traces).toEqual([]);
  // A commit meanwhile is accepted, without us.
  expect((await tenant.apply("ada")).status).toBe(201);

  await startPart(name, "node");
  expect(sysctls()).toEqual(before);
  await pods.settled();
  await tenant.person("ada");
});
