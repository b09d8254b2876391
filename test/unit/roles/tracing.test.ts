/** Each role as a process of its own: OpenTelemetry is loaded where the environment asks for it, and nowhere else. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { silentLog } from "../../../src/lib/log.ts";
import { openTracing } from "../../../src/roles/tracing.ts";
import { startCollector } from "../../support/otlp.ts";

const ROOT = join(import.meta.dirname, "../../..");
const directory = mkdtempSync(join(tmpdir(), "tracing-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Nobody is there: a role starts with every dependency down. */
const NOWHERE = "127.0.0.1:1";
const kubeconfig = join(directory, "kubeconfig");
writeFileSync(
  kubeconfig,
  JSON.stringify({
    clusters: [{ name: "c", cluster: { server: `https://${NOWHERE}` } }],
    users: [{ name: "u", user: {} }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  }),
);
const env = {
  PATH: process.env["PATH"],
  DATABASE_URL: `postgres://rbac:rbac@${NOWHERE}/rbac`,
  NATS_URL: `nats://${NOWHERE}`,
  KUBECONFIG: kubeconfig,
  OPS_ADDRESS: "127.0.0.1:0",
  WEBHOOK_ADDRESS: "127.0.0.1:0",
  OPERATOR_ADDRESS: "127.0.0.1:0",
  TLS_DIR: directory,
  SHUTDOWN_DELAY_SECONDS: "0",
};

/** Runs a role until it says that it runs, and ends it. */
async function run(role: string, more: Record<string, string>) {
  const hook = join(ROOT, "test/support/loadedModules.mjs");
  const child = spawn(process.execPath, ["--import", hook, join(ROOT, "src/main.ts"), role], {
    env: { ...env, ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const running = Promise.withResolvers<void>();
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
    if (out.includes('"msg":"running"')) running.resolve();
  });
  // A second signal would end it at once.
  void running.promise.then(() => child.kill("SIGTERM"));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out: `${out}${err}`, loaded: err.split("\n").filter((line) => line.startsWith("loaded ")) };
}

describe.each(["webhook", "reconciler"])("the %s", (role) => {
  test("loads nothing of OpenTelemetry by default, nor where it is disabled", { timeout: 60_000 }, async () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" };
    for (const more of [{}, { ...endpoint, OTEL_SDK_DISABLED: "true" }]) {
      const { code, loaded, out } = await run(role, more);
      expect({ code, loaded, out }).toMatchObject({ code: 0, loaded: [] });
    }
  });

  test("loads it where a collector is named, and runs while that is away", { timeout: 60_000 }, async () => {
    const { code, loaded, out } = await run(role, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:1" });
    expect(loaded.join()).toMatch(/@opentelemetry\/sdk-trace/);
    expect({ code, out }).toMatchObject({ code: 0 });
    expect(out).toContain('"msg":"started sending traces"');
  });
});

test("what is traced arrives at the collector, as the standard variables say", async () => {
  const collector = await startCollector();
  const variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=acme",
    OTEL_SERVICE_NAME: "people",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
  };
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    const batch = { scheduledDelayMillis: 10, exportTimeoutMillis: 1_000, maxQueueSize: 10, maxExportBatchSize: 10 };
    const config = { sampler: "always_on", ratio: 1, batch } as const;
    const { tracer, parts } = await openTracing(config, { role: "webhook", log: silentLog });
    const attributes = { "unified_rbac.attempt": 3, "unified_rbac.dry_run": true, "unified_rbac.step": "keycloak" };
    await tracer.inTrace(undefined, "a claim", { kind: "server", attributes }, async () => {
      await tracer.inSpan("a step", {}, () => Promise.reject(new TypeError("x"))).catch(() => undefined);
    });
    for (const part of parts) await part.stop();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
    Object.assign(process.env, before);
    await collector.close();
  }
  const [step, claim] = collector.spans;
  expect(claim).toMatchObject({
    name: "a claim",
    kind: 2,
    parent: "",
    service: "people",
    attributes: { "unified_rbac.attempt": 3, "unified_rbac.dry_run": true, "unified_rbac.step": "keycloak" },
  });
  expect(step).toMatchObject({
    name: "a step",
    kind: 1,
    parent: claim?.id,
    trace: claim?.trace,
    failed: true,
    attributes: { "error.type": "TypeError" },
  });
  expect(Number((claim?.end ?? 0n) - (claim?.start ?? 0n))).toBeGreaterThanOrEqual(0);
  expect(collector.headers[0]).toMatchObject({ "x-tenant": "acme" });
  expect(collector.bytes().includes("deployment.environment.name")).toBe(true);
});
