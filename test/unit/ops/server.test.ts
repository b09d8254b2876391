import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../src/lib/log.ts";
import { makeLiveness } from "../../../src/ops/liveness.ts";
import { makeMetrics } from "../../../src/ops/metrics.ts";
import { makeOpsServer, type OpsServer } from "../../../src/ops/server.ts";

let now = 0;
let lastTurn = 0;
let problem: string | undefined;
let server: OpsServer;
const metrics = makeMetrics("reconciler", { runtime: false });

async function get(path: string, method = "GET") {
  const response = await fetch(`http://127.0.0.1:${server.port()}${path}`, { method });
  return { status: response.status, text: await response.text() };
}

beforeEach(async () => {
  now = 1_000_000;
  lastTurn = 0;
  problem = undefined;
  const part = { start: () => undefined, stop: () => undefined };
  const liveness = makeLiveness({ now: () => now }, [
    { ...part, name: "worker", lastProgress: () => lastTurn, allowedMs: 60_000 },
    { ...part, name: "port" },
  ]);
  server = makeOpsServer({
    address: { host: "127.0.0.1", port: 0 },
    metrics,
    liveness,
    ready: [{ name: "certificate", problem: () => problem }],
    log: silentLog,
  });
  await server.start();
});
afterEach(() => server.stop());

describe("/livez", () => {
  it("is well before a loop's first turn and while it turns", async () => {
    expect(await get("/livez")).toEqual({ status: 200, text: "[+] worker: 0 s of 60 s\n" });
    now += 300_000;
    lastTurn = now - 2_000;
    expect(await get("/livez")).toEqual({ status: 200, text: "[+] worker: 2 s of 60 s\n" });
  });

  it("fails and names the loop that stands still, even one that never began", async () => {
    now += 61_000;
    expect(await get("/livez")).toEqual({ status: 503, text: "[-] worker: 61 s of 60 s\n" });
  });
});

describe("/readyz", () => {
  it("says what is missing", async () => {
    expect(await get("/readyz")).toEqual({ status: 200, text: "[+] certificate\n" });
    problem = "there is no certificate yet.";
    expect(await get("/readyz")).toEqual({ status: 503, text: "[-] certificate: there is no certificate yet.\n" });
  });
});

describe("/metrics", () => {
  it("shows what was counted, under the role", async () => {
    metrics.increment("unified_rbac_step_attempts_total", { step: "keycloak", direction: "up", outcome: "done" });
    const { status, text } = await get("/metrics");
    expect(status).toBe(200);
    expect(text).toContain(
      'unified_rbac_step_attempts_total{step="keycloak",direction="up",outcome="done",role="reconciler"} 1',
    );
  });
});

it("answers other paths and methods with a plain no", async () => {
  expect((await get("/")).status).toBe(404);
  expect((await get("/livez", "POST")).status).toBe(405);
});

it("cannot start on a port that is taken", async () => {
  const second = makeOpsServer({
    address: { host: "127.0.0.1", port: server.port() },
    metrics,
    liveness: makeLiveness({ now: () => now }, []),
    ready: [],
    log: silentLog,
  });
  await expect(second.start()).rejects.toThrow("EADDRINUSE");
});
