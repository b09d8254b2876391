import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";

import { addressesOf, chooseSlot } from "../../../stack/node/addresses.ts";
import { clusterObjects, forwards, upstreams } from "../../../stack/node/objects.ts";
import { missingForNode, type Machine } from "../../../stack/obtain/nodePackages.ts";
import { choosePorts, portNames, type Ports } from "../../../stack/ports.ts";

const debian = (without: readonly string[] = []): Machine => ({
  root: true,
  platform: "linux",
  path: "/usr/bin",
  executable: (file) =>
    (/^\/(usr\/)?s?bin\//.test(file) || file === "/usr/lib/cni/bridge") && !without.some((name) => file.endsWith(name)),
});

describe("a machine for a node", () => {
  it("lacks nothing when every program is there, also in root's own folders", () => {
    expect(missingForNode(debian())).toEqual([]);
    expect(missingForNode({ ...debian(), path: "" })).toEqual([]);
  });

  it("is told the packages that it lacks in one line, each once", () => {
    expect(missingForNode(debian(["/containerd", "/ctr", "/bridge", "/nft"]))).toEqual([
      "A node (real Pods) needs: apt-get install -y --no-install-recommends containerd nftables containernetworking-plugins",
    ]);
  });

  it("is told when the user is not root, and when it is no Linux", () => {
    expect(missingForNode({ ...debian(), root: false })).toEqual([expect.stringContaining("needs root")]);
    expect(missingForNode({ ...debian(), platform: "darwin" })).toEqual([expect.stringContaining("Linux only")]);
  });
});

describe("the addresses of nodes", () => {
  it("of two slots have nothing in common", () => {
    const [a, b] = [addressesOf(1), addressesOf(2)];
    const values = Object.values(a);
    expect(Object.values(b).filter((value) => values.includes(value))).toEqual([]);
  });

  it("keep the names of links within what the kernel allows", () => {
    expect(addressesOf(254).hostLink.length).toBeLessThanOrEqual(15);
  });

  it("skip slots of other stacks and those whose link is on this machine", () => {
    expect(chooseSlot(new Set([1, 2]), new Set([addressesOf(3).hostLink]))).toBe(4);
  });

  it("run out with a sentence", () => {
    const all = new Set(Array.from({ length: 254 }, (_, at) => at + 1));
    expect(() => chooseSlot(all, new Set())).toThrow("stop the stacks that you do not need");
  });
});

describe("the objects of a node's cluster", () => {
  const ports = Object.fromEntries(portNames.map((name, at) => [name, 20_000 + at])) as unknown as Ports;

  it("lead each Service to a port that is forwarded", () => {
    const objects = clusterObjects(addressesOf(7)) as { kind: string; ports?: { port: number }[] }[];
    const open = forwards(ports)
      .split(" ")
      .map((pair) => Number(pair.split("=")[0]));
    const led = objects.flatMap((object) => (object.kind === "EndpointSlice" ? (object.ports ?? []) : []));
    expect(new Set(led.map(({ port }) => port))).toEqual(new Set(open));
    expect(forwards(ports)).toContain(`5432=${ports.postgres}`);
    expect(upstreams.length).toBe(4);
  });
});

describe("the forwarder", () => {
  it("carries both directions, and refuses while the part behind it is down", async () => {
    const outer = (await choosePorts({}, new Set())).etcd;
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    const { port } = echo.address() as AddressInfo;
    const script = join(import.meta.dirname, "../../../stack/node/forward.ts");
    const child = spawn(process.execPath, [script, "127.0.0.1", `${outer}=${port}`], { stdio: "inherit" });
    onTestFinished(() => void child.kill());

    await expect.poll(() => say(outer, "hello")).toBe("hello");
    echo.close();
    await once(echo, "close");
    expect(await say(outer, "hello")).toMatch(/ECONNRESET|^$/);
  });
});

/** What comes back, or the code of the error. */
async function say(port: number, words: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(words);
  return text(socket).catch((error: NodeJS.ErrnoException) => String(error.code));
}
