import { describe, expect, it } from "vitest";
import { ConfigError, parseConfig } from "../../../src/lib/config.ts";

const noFile = (): string => {
  throw Object.assign(new Error("no such file"), { code: "ENOENT" });
};
const closedFile = (): string => {
  throw Object.assign(new Error("permission denied"), { code: "EACCES" });
};
const DATABASE_URL = "postgres://ada:hunter2@db:5432/rbac";
const NATS_URL = "nats://nats:4222";

function mistakesOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
}

describe("parseConfig", () => {
  it("needs nothing but the database and NATS", () => {
    const config = parseConfig("reconciler", { DATABASE_URL, NATS_URL, LOG_LEVEL: "" }, noFile);
    expect(config).toMatchObject({
      logLevel: "info",
      ops: { host: "0.0.0.0", port: 8081 },
      operatorNamespace: "unified-rbac-system",
      webhookTLS: { dnsNames: ["unified-rbac-webhook.unified-rbac-system.svc"], ips: [] },
      heartbeatMs: 30_000,
      workers: 16,
    });
    expect(config.databaseURL.reveal()).toBe(DATABASE_URL);
  });

  describe("traces", () => {
    const endpoint = { DATABASE_URL, OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };
    const tracing = (env: Record<string, string>) => parseConfig("webhook", { DATABASE_URL, ...env }, noFile).tracing;

    it.each([
      ["by default", {}],
      ["with a sampler alone", { OTEL_TRACES_SAMPLER: "always_on" }],
      ["with an empty address", { OTEL_EXPORTER_OTLP_ENDPOINT: " " }],
      ["when OpenTelemetry is disabled", { ...endpoint, OTEL_SDK_DISABLED: "TRUE" }],
      ["when no exporter is wanted", { ...endpoint, OTEL_TRACES_EXPORTER: "none" }],
    ])("are off %s", (_when, env) => {
      expect(tracing(env)).toBeUndefined();
    });

    it.each(["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])("are on with %s", (name) => {
      expect(tracing({ [name]: "http://collector:4318", OTEL_SDK_DISABLED: "false" })).toEqual({
        sampler: "parentbased_always_on",
        ratio: 1,
        batch: {
          scheduledDelayMillis: 5_000,
          exportTimeoutMillis: 30_000,
          maxQueueSize: 2_048,
          maxExportBatchSize: 512,
        },
      });
    });

    it("follow the standard variables, and every mistake in them is named", () => {
      expect(
        tracing({ ...endpoint, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.25" }),
      ).toMatchObject({ sampler: "traceidratio", ratio: 0.25 });
      const wrong = {
        ...endpoint,
        OTEL_TRACES_SAMPLER: "sometimes",
        OTEL_TRACES_SAMPLER_ARG: "7",
        OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
        OTEL_BSP_SCHEDULE_DELAY: "soon",
      };
      expect(mistakesOf(() => parseConfig("webhook", wrong, noFile)).map((each) => each.split(":")[0])).toEqual([
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_BSP_SCHEDULE_DELAY",
      ]);
    });
  });

  it("counts what is given in seconds once", () => {
    const webhook = parseConfig("webhook", { DATABASE_URL, SHUTDOWN_DELAY_SECONDS: "5" }, noFile);
    expect(webhook.shutdownDelayMs).toBe(5_000);
  });

  it("takes master keys from a variable or a file, and repeats none of them in a mistake", () => {
    const key = "k".repeat(32);
    const env = { DATABASE_URL, NATS_URL };
    expect(parseConfig("reconciler", env, noFile).masterKeys).toBeUndefined();
    expect(parseConfig("reconciler", { ...env, MASTER_KEYS: `1: ${key}` }, noFile).masterKeys?.current).toBe(1);
    const read = (path: string) => (path === "/keys" ? `1: ${key}\n2: ${key}2\n` : "ns");
    expect(parseConfig("reconciler", { ...env, MASTER_KEYS_FILE: "/keys" }, read).masterKeys?.current).toBe(2);
    for (const wrong of [
      { MASTER_KEYS: key },
      { MASTER_KEYS_FILE: "/closed" },
      { MASTER_KEYS: `1: ${key}`, MASTER_KEYS_FILE: "/keys" },
    ]) {
      const mistakes = mistakesOf(() => parseConfig("reconciler", { ...env, ...wrong }, closedFile));
      expect(mistakes).toHaveLength(1);
      expect(mistakes[0]).toMatch(/^MASTER_KEYS/);
      expect(mistakes[0]).not.toContain(key);
    }
  });

  it("has no master keys while their file, a Secret that is optional, is not there", () => {
    const env = { DATABASE_URL, NATS_URL, MASTER_KEYS_FILE: "/master-keys/keys" };
    expect(parseConfig("reconciler", env, noFile).masterKeys).toBeUndefined();
  });

  it("takes every secret from a file instead of the environment, and never from both", () => {
    const files: Record<string, string> = {
      "/url": `${NATS_URL}\n`,
      "/password": "hunter2\n",
      "/token": "s3cret\n",
      "/empty": " ",
    };
    const read = (path: string) => files[path] ?? noFile();
    const env = { DATABASE_URL, NATS_URL_FILE: "/url" };
    const of = (more: Record<string, string>) => parseConfig("reconciler", { ...env, ...more }, read).nats;
    expect(of({}).servers.map((server) => server.reveal())).toEqual([NATS_URL]);
    expect(of({ NATS_USER: "rbac", NATS_PASSWORD_FILE: "/password" }).login?.password()).toBe("hunter2");
    expect(of({ NATS_USER: "rbac", NATS_PASSWORD: "plain" }).login).toMatchObject({ user: "rbac" });
    expect(of({ NATS_TOKEN_FILE: "/token" }).token?.()).toBe("s3cret");
    expect(of({ NATS_NKEY_FILE: "/nkey", NATS_CA_FILE: "/ca" })).toMatchObject({
      nkeyFile: "/nkey",
      tls: { caFile: "/ca" },
    });
    const wrong = (more: Record<string, string>) => mistakesOf(() => of(more));
    expect(wrong({ NATS_URL })).toEqual(["NATS_URL_FILE: give it or NATS_URL, not both"]);
    expect(wrong({ NATS_USER: "rbac", NATS_PASSWORD_FILE: "/gone" })).toEqual([
      "NATS_PASSWORD_FILE: the file cannot be read (ENOENT)",
    ]);
    expect(wrong({ NATS_TOKEN_FILE: "/empty" })).toEqual(["NATS_TOKEN_FILE: the file is empty"]);
    expect(wrong({ NATS_USER: "rbac" })).toEqual(["NATS_USER: means nothing without NATS_PASSWORD"]);
    expect(wrong({ NATS_CREDS_FILE: "/c", NATS_TOKEN: "s3cret" })).toEqual([
      "NATS_TOKEN: give it or NATS_CREDS_FILE, not both",
    ]);
    expect(wrong({ NATS_CERT_FILE: "/c" })).toEqual(["NATS_CERT_FILE: means nothing without NATS_KEY_FILE"]);
  });

  it("asks for the API server's certificate where its CA is named", () => {
    const of = (env: Record<string, string>) => parseConfig("webhook", { DATABASE_URL, ...env }).clients;
    expect(of({})).toBeUndefined();
    expect(of({ ADMISSION_CLIENT_CA_FILE: "/ca", ADMISSION_CLIENT_NAMES: "kube-apiserver, other" })).toEqual({
      caFile: "/ca",
      names: ["kube-apiserver", "other"],
    });
    expect(mistakesOf(() => of({ ADMISSION_CLIENT_NAMES: "kube-apiserver" }))).toEqual([
      expect.stringMatching(/^ADMISSION_CLIENT_NAMES: means nothing without ADMISSION_CLIENT_CA_FILE/),
    ]);
  });

  it("takes its namespace from the service account, and the webhook's DNS name from it", () => {
    const config = parseConfig("reconciler", { DATABASE_URL, NATS_URL }, () => "elsewhere\n");
    expect(config.webhookTLS.dnsNames).toEqual(["unified-rbac-webhook.elsewhere.svc"]);
  });

  it("reads the database URL from a mounted file", () => {
    const config = parseConfig("migrate", { DATABASE_URL_FILE: "/db/url" }, () => `${DATABASE_URL}\n`);
    expect(config.databaseURL.reveal()).toBe(DATABASE_URL);
  });

  it("reads addresses of both families", () => {
    const config = parseConfig("webhook", { DATABASE_URL, WEBHOOK_ADDRESS: "[::1]:9443", OPS_ADDRESS: "127.0.0.1:0" });
    expect(config.listen).toEqual({ host: "::1", port: 9443 });
    expect(config.ops).toEqual({ host: "127.0.0.1", port: 0 });
  });

  it("without a kubeconfig, takes the API server's address from the kubelet, so that a Pod starts without DNS", () => {
    const env = { DATABASE_URL, NATS_URL };
    const place = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "6443" };
    expect(parseConfig("reconciler", { ...env, ...place }, noFile).apiServer).toEqual({
      host: "10.0.0.1",
      port: "6443",
    });
    expect(parseConfig("reconciler", env, noFile).apiServer).toEqual({ host: undefined, port: undefined });
  });

  it("answers operators on this machine alone, and nowhere unless told to", () => {
    const env = { DATABASE_URL, NATS_URL };
    expect(parseConfig("reconciler", env, noFile).operator).toBeUndefined();
    const here = (OPERATOR_ADDRESS: string) => parseConfig("reconciler", { ...env, OPERATOR_ADDRESS }, noFile).operator;
    expect(here("127.0.0.1:8082")).toEqual({ host: "127.0.0.1", port: 8082 });
    expect(here("[::1]:8082")).toEqual({ host: "::1", port: 8082 });
    for (const open of ["0.0.0.0:8082", "[::]:8082", "10.0.0.7:8082", "localhost:8082", "127.0.0.1:70000"]) {
      expect(mistakesOf(() => here(open))).toEqual([
        expect.stringMatching(/^OPERATOR_ADDRESS: must be a port of this/),
      ]);
    }
  });

  it("names every mistake at once, each with its variable", () => {
    const mistakes = mistakesOf(() =>
      parseConfig(
        "reconciler",
        {
          LOG_LEVEL: "loud",
          OPS_ADDRESS: "nowhere",
          NATS_URL: "http://nats",
          HEARTBEAT_SECONDS: "-1",
          WORKERS: "many",
          WEBHOOK_IPS: "localhost",
          WEBHOOK_DNS_NAMES: "a b",
        },
        noFile,
      ),
    );
    expect(new Set(mistakes.map((mistake) => mistake.split(":")[0]))).toEqual(
      new Set([
        "DATABASE_URL",
        "HEARTBEAT_SECONDS",
        "LOG_LEVEL",
        "NATS_URL",
        "OPS_ADDRESS",
        "WEBHOOK_DNS_NAMES",
        "WEBHOOK_IPS",
        "WORKERS",
      ]),
    );
  });

  it("names a file that cannot be read beside the other mistakes, and does not ask for the variable again", () => {
    const mistakes = mistakesOf(() => parseConfig("reconciler", { DATABASE_URL_FILE: "/db/url" }, noFile));
    expect(mistakes).toEqual([
      "DATABASE_URL_FILE: the file cannot be read (ENOENT)",
      "NATS_URL: is required: nats://host:4222, several separated by commas",
    ]);
  });

  it("refuses both forms of the database URL", () => {
    expect(mistakesOf(() => parseConfig("migrate", { DATABASE_URL, DATABASE_URL_FILE: "/db/url" }))).toEqual([
      "DATABASE_URL_FILE: give it or DATABASE_URL, not both",
    ]);
  });

  it("echoes no value: it may be a secret in the wrong place", () => {
    const secret = "hunter2hunter2";
    const env = Object.fromEntries(
      ["DATABASE_URL", "NATS_URL", "LOG_LEVEL", "OPS_ADDRESS", "WORKERS", "WEBHOOK_IPS", "OPERATOR_NAMESPACE"].map(
        (variable) => [variable, `${secret} !`],
      ),
    );
    const mistakes = mistakesOf(() => parseConfig("reconciler", env, noFile));
    expect(mistakes).toHaveLength(7);
    expect(mistakes.join("\n")).not.toContain("hunter2");
  });

  it("does not print its secrets", () => {
    const config = parseConfig("reconciler", { DATABASE_URL, NATS_URL: "nats://u:hunter2@nats:4222" }, noFile);
    expect(JSON.stringify(config)).not.toContain("hunter2");
  });
});
