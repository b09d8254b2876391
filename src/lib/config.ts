/** The only reader of the environment. A value of a variable is never put into a message: it may be a secret. */
import { readFileSync } from "node:fs";
import type * as z from "zod";
import { type ReadText, takeFiles, takeMasterKeys } from "./configFiles.ts";
import {
  type Address,
  DEFAULT_NAMESPACE,
  isPostgresURL,
  type LogLevel,
  migrateEnv,
  reconcilerEnv,
  webhookEnv,
} from "./configVariables.ts";
import type { MasterKeys } from "./masterKeys.ts";
import { natsCredentials, type NatsConfig, natsMistakes } from "./natsConfig.ts";
import { type SecretSource, secretSource } from "./secretFile.ts";
import { Sensitive } from "./sensitive.ts";
import { type TracingConfig, tracingOf } from "./tracingConfig.ts";

export type Role = "webhook" | "reconciler" | "migrate";

interface CommonConfig {
  readonly databaseURL: Sensitive;
  /** Where it stands, when it stands in a file: read again for each new connection. */
  readonly databaseURLFile: string | undefined;
  readonly logLevel: LogLevel;
}

export interface MigrateConfig extends CommonConfig {
  readonly role: "migrate";
  /** Names of the database's roles that the other two connect as; undefined: as the owner, as this one does. */
  readonly roles: { readonly webhook: string | undefined; readonly reconciler: string | undefined };
}

export interface WebhookConfig extends CommonConfig {
  readonly role: "webhook";
  /** Absent: no traces, and OpenTelemetry is not loaded. */
  readonly tracing: TracingConfig | undefined;
  readonly ops: Address;
  readonly listen: Address;
  /** Directories with tls.crt and tls.key, which may appear late: a mounted Secret, and what the reconciler hands over. */
  readonly tlsDirs: readonly string[];
  /** Absent: whoever reaches the port is answered. */
  readonly clients: AdmissionClientsConfig | undefined;
  /** How long it still serves after it was asked to end. */
  readonly shutdownDelayMs: number;
}

export interface AdmissionClientsConfig {
  /** PEM of the CA that vouches for the API server's client certificate; may appear late, and change. */
  readonly caFile: string;
  /** Names that such a certificate may have; none: whatever that CA has signed. */
  readonly names: readonly string[];
}

export interface ReconcilerConfig extends CommonConfig {
  readonly role: "reconciler";
  /** Absent: no traces, and OpenTelemetry is not loaded. */
  readonly tracing: TracingConfig | undefined;
  readonly ops: Address;
  /** Where operators are answered, on this machine alone; absent: nowhere. */
  readonly operator: Address | undefined;
  readonly nats: NatsConfig;
  /** Path; absent: the Pod's own service account. */
  readonly kubeconfig: string | undefined;
  /** Where a Pod reaches the API server without any DNS, as the kubelet says; absent: by the name of its Service. */
  readonly apiServer: { readonly host: string | undefined; readonly port: string | undefined };
  readonly operatorNamespace: string;
  readonly webhookTLS: WebhookTLSConfig;
  readonly heartbeatMs: number;
  readonly workers: number;
  /** How often each Tenant is checked against its upstreams. */
  readonly recheckMs: number;
  /** How often each user is compared with what its upstreams hold. */
  readonly driftMs: number;
  /** After how many days audit entries, and rows of people who are gone, are deleted; 0: never. */
  readonly retention: { readonly auditDays: number; readonly endedDays: number };
  /** Names this process in logs and leases. */
  readonly identity: string;
  /** Users' passwords at gateways are derived from these; undefined: a dialect that needs them cannot be used. */
  readonly masterKeys: MasterKeys | undefined;
}

export interface WebhookTLSConfig {
  /** false: somebody else (cert-manager) makes the Secret and sets the CA in the webhook configurations. */
  readonly managed: boolean;
  readonly secretName: string;
  /** Directory in which the webhook of the same Pod finds the certificate too; absent: only in the Secret. */
  readonly handoverDir: string | undefined;
  /** Name of both webhook configurations. */
  readonly configurationName: string;
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
}

export type Config = WebhookConfig | ReconcilerConfig | MigrateConfig;
export type Environment = Readonly<Record<string, string | undefined>>;

/** Every mistake at once, one line each, each with its variable. */
export class ConfigError extends Error {
  readonly mistakes: readonly string[];

  constructor(role: Role, mistakes: readonly string[]) {
    super(
      `The configuration of "${role}" has ${mistakes.length} mistake(s):\n${mistakes.map((m) => `  ${m}`).join("\n")}`,
    );
    this.name = "ConfigError";
    this.mistakes = mistakes;
  }
}

const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const readText: ReadText = (path) => readFileSync(path, "utf8");

/** Throws one {@link ConfigError} that names every mistake. An empty variable counts as absent. */
export function parseConfig(role: "webhook", env: Environment, read?: ReadText): WebhookConfig;
export function parseConfig(role: "reconciler", env: Environment, read?: ReadText): ReconcilerConfig;
export function parseConfig(role: "migrate", env: Environment, read?: ReadText): MigrateConfig;
export function parseConfig(role: Role, env: Environment, read?: ReadText): Config;
export function parseConfig(role: Role, env: Environment, read: ReadText = readText): Config {
  const given: Record<string, string> = {};
  for (const [key, value] of Object.entries(env))
    if (value !== undefined && value.trim() !== "") given[key] = value.trim();
  const mistakes: string[] = [];
  takeFiles(given, read, mistakes);
  const tracing = role === "migrate" ? undefined : tracingOf(given, mistakes);
  const masterKeys = role === "reconciler" ? takeMasterKeys(given, read, mistakes) : undefined;

  switch (role) {
    case "migrate": {
      const vars = check(role, migrateEnv, given, mistakes);
      const roles = { webhook: vars.WEBHOOK_DATABASE_ROLE, reconciler: vars.RECONCILER_DATABASE_ROLE };
      return { role, ...shared(vars, given), roles };
    }
    case "webhook": {
      const vars = check(role, webhookEnv, given, mistakes);
      return {
        role,
        ...shared(vars, given),
        tracing,
        ops: vars.OPS_ADDRESS,
        listen: vars.WEBHOOK_ADDRESS,
        tlsDirs: [vars.TLS_DIR, ...(vars.TLS_HANDOVER_DIR === undefined ? [] : [vars.TLS_HANDOVER_DIR])],
        clients: clientsOf(vars),
        shutdownDelayMs: vars.SHUTDOWN_DELAY_SECONDS,
      };
    }
    case "reconciler": {
      given["OPERATOR_NAMESPACE"] ??= ownNamespace(read);
      mistakes.push(...natsMistakes(given));
      const vars = check(role, reconcilerEnv, given, mistakes);
      const namespace = vars.OPERATOR_NAMESPACE;
      return {
        role,
        ...shared(vars, given),
        tracing,
        ops: vars.OPS_ADDRESS,
        operator: vars.OPERATOR_ADDRESS,
        nats: {
          servers: vars.NATS_URL.map((url) => new Sensitive(url)),
          ...natsCredentials(vars, given),
          heartbeatStream: vars.NATS_HEARTBEAT_STREAM,
          eventStream: vars.NATS_EVENT_STREAM,
        },
        kubeconfig: vars.KUBECONFIG,
        apiServer: { host: vars.KUBERNETES_SERVICE_HOST, port: vars.KUBERNETES_SERVICE_PORT },
        operatorNamespace: namespace,
        webhookTLS: {
          managed: vars.WEBHOOK_CERTIFICATES === "own",
          secretName: vars.WEBHOOK_TLS_SECRET,
          handoverDir: vars.TLS_HANDOVER_DIR,
          configurationName: vars.WEBHOOK_CONFIGURATION,
          dnsNames:
            vars.WEBHOOK_DNS_NAMES.length > 0 ? vars.WEBHOOK_DNS_NAMES : [`unified-rbac-webhook.${namespace}.svc`],
          ips: vars.WEBHOOK_IPS,
        },
        heartbeatMs: vars.HEARTBEAT_SECONDS,
        workers: vars.WORKERS,
        recheckMs: vars.RECHECK_SECONDS,
        driftMs: vars.DRIFT_SECONDS,
        retention: { auditDays: vars.AUDIT_RETENTION_DAYS, endedDays: vars.ENDED_RETENTION_DAYS },
        identity: vars.POD_NAME ?? `reconciler-${process.pid}`,
        masterKeys,
      };
    }
    default:
      return role satisfies never;
  }
}

function clientsOf(vars: z.infer<typeof webhookEnv>): AdmissionClientsConfig | undefined {
  const { ADMISSION_CLIENT_CA_FILE: caFile, ADMISSION_CLIENT_NAMES: names } = vars;
  return caFile === undefined ? undefined : { caFile, names };
}

function shared(
  vars: { DATABASE_URL: string; LOG_LEVEL: LogLevel },
  given: Readonly<Record<string, string>>,
): CommonConfig {
  return {
    databaseURL: new Sensitive(vars.DATABASE_URL),
    databaseURLFile: given["DATABASE_URL_FILE"],
    logLevel: vars.LOG_LEVEL,
  };
}

/** The URL as it is at this moment, for whoever opens connections. */
export function databaseSource({ databaseURL, databaseURLFile }: CommonConfig): SecretSource {
  return secretSource(databaseURL, databaseURLFile, isPostgresURL);
}

function ownNamespace(read: ReadText): string {
  try {
    return read(NAMESPACE_FILE).trim();
  } catch {
    return DEFAULT_NAMESPACE;
  }
}

function check<T>(role: Role, schema: z.ZodType<T>, given: Record<string, string>, mistakes: readonly string[]): T {
  const result = schema.safeParse(given);
  const found = result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  if (result.success && mistakes.length === 0) return result.data;
  throw new ConfigError(role, [...mistakes, ...found]);
}
