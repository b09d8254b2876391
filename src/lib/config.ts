/** The only reader of the environment. A value of a variable is never put into a message: it may be a secret. */
import { readFileSync } from "node:fs";
import * as z from "zod";
import { type MasterKeys, parseMasterKeys } from "./masterKeys.ts";
import { Sensitive } from "./sensitive.ts";

export type Role = "webhook" | "reconciler" | "migrate";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Address {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

interface CommonConfig {
  readonly databaseURL: Sensitive;
  readonly logLevel: LogLevel;
}

export interface MigrateConfig extends CommonConfig {
  readonly role: "migrate";
}

export interface WebhookConfig extends CommonConfig {
  readonly role: "webhook";
  readonly ops: Address;
  readonly listen: Address;
  /** Directory with tls.crt and tls.key: a mounted Secret, which may appear late. */
  readonly tlsDir: string;
}

export interface ReconcilerConfig extends CommonConfig {
  readonly role: "reconciler";
  readonly ops: Address;
  /** Where operators are answered, on this machine alone; absent: nowhere. */
  readonly operator: Address | undefined;
  readonly nats: NatsConfig;
  /** Path; absent: the Pod's own service account. */
  readonly kubeconfig: string | undefined;
  readonly operatorNamespace: string;
  readonly webhookTLS: WebhookTLSConfig;
  readonly heartbeatMs: number;
  readonly workers: number;
  /** How often each Tenant is checked against its neighbours. */
  readonly recheckMs: number;
  /** How often each user is compared with what its neighbours hold. */
  readonly driftMs: number;
  /** Names this process in logs and leases. */
  readonly identity: string;
  /** From which passwords at gateways of dialect new-api are derived; absent: that dialect cannot be used. */
  readonly masterKeys: MasterKeys | undefined;
}

export interface NatsConfig {
  /** As written, so with a password where somebody put one there. */
  readonly servers: readonly Sensitive[];
  /** A credentials file (JWT and seed), read again at each connect. */
  readonly credsFile: string | undefined;
}

export interface WebhookTLSConfig {
  /** false: somebody else (cert-manager) makes the Secret and sets the CA in the webhook configurations. */
  readonly managed: boolean;
  readonly secretName: string;
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
const DEFAULT_NAMESPACE = "unified-rbac-system";
const ADDRESS = /^(\[[0-9a-fA-F:]+\]|[^:\s/]+):(\d{1,5})$/;
const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const IP = z.union([z.ipv4(), z.ipv6()]);

const isAddress = (text: string): boolean => Number(ADDRESS.exec(text)?.[2] ?? 65536) < 65536;
const isLocal = (text: string): boolean => isAddress(text) && /^(127\.0\.0\.1|\[::1\]):/.test(text);

const toAddress = (text: string): Address => {
  const [, host = "", port] = ADDRESS.exec(text) ?? [];
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
};

const address = (fallback: string) =>
  z.string().default(fallback).refine(isAddress, "must be host:port, for example 0.0.0.0:8080").transform(toAddress);

const whole = (fallback: number, least: number, most: number, unit: string) =>
  z
    .string()
    .default(String(fallback))
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most,
      `must be a whole number${unit} from ${least} to ${most}`,
    )
    .transform(Number);

const seconds = (fallback: number, least: number, most: number) =>
  whole(fallback, least, most, " of seconds").transform((n) => n * 1000);

const list = (text: string): string[] =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");

const name = (fallback: string) =>
  z.string().regex(DNS_NAME, "must be the name of a Kubernetes object (lower case)").default(fallback);

const postgres = (text: string): boolean => URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol);
const NATS_SCHEMES = /^(nats|tls):$/;
const nats = (text: string): boolean => URL.canParse(text) && NATS_SCHEMES.test(new URL(text).protocol);

const common = {
  DATABASE_URL: z
    .string("is required: postgres://user:password@host:5432/database, or DATABASE_URL_FILE with a path to it")
    .refine(postgres, "must be a URL that begins with postgres:// or postgresql://"),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(", ")}`).default("info"),
};

const migrateEnv = z.object(common);

const webhookEnv = z.object({
  ...common,
  OPS_ADDRESS: address("0.0.0.0:8080"),
  WEBHOOK_ADDRESS: address("0.0.0.0:9443"),
  TLS_DIR: z.string().default("/tls"),
});

const reconcilerEnv = z.object({
  ...common,
  OPS_ADDRESS: address("0.0.0.0:8081"),
  OPERATOR_ADDRESS: z
    .string()
    .refine(isLocal, "must be a port of this machine alone: 127.0.0.1:port or [::1]:port")
    .transform(toAddress)
    .optional(),
  NATS_URL: z
    .string("is required: nats://host:4222, several separated by commas")
    .transform(list)
    .refine(
      (urls) => urls.length > 0 && urls.every(nats),
      "must be URLs that begin with nats:// or tls://, separated by commas",
    ),
  NATS_CREDS_FILE: z.string().optional(),
  KUBECONFIG: z.string().optional(),
  OPERATOR_NAMESPACE: name(DEFAULT_NAMESPACE),
  WEBHOOK_CERTIFICATES: z.enum(["own", "external"], "must be own or external").default("own"),
  WEBHOOK_TLS_SECRET: name("unified-rbac-webhook-tls"),
  WEBHOOK_CONFIGURATION: name("unified-rbac"),
  WEBHOOK_DNS_NAMES: z
    .string()
    .default("")
    .transform(list)
    .refine((names) => names.every((entry) => DNS_NAME.test(entry)), "must be DNS names, separated by commas"),
  WEBHOOK_IPS: z
    .string()
    .default("")
    .transform(list)
    .refine((ips) => ips.every((ip) => IP.safeParse(ip).success), "must be IP addresses, separated by commas"),
  HEARTBEAT_SECONDS: seconds(30, 1, 60),
  WORKERS: whole(16, 1, 256, ""),
  RECHECK_SECONDS: seconds(60, 1, 86_400),
  DRIFT_SECONDS: seconds(600, 1, 86_400),
  POD_NAME: z.string().optional(),
});

type ReadText = (path: string) => string;
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
  const fileMistake = takeDatabaseFile(given, read);
  if (fileMistake !== undefined) mistakes.push(fileMistake);
  const masterKeys = role === "reconciler" ? takeMasterKeys(given, read, mistakes) : undefined;

  switch (role) {
    case "migrate": {
      const vars = check(role, migrateEnv, given, mistakes);
      return { role, ...shared(vars) };
    }
    case "webhook": {
      const vars = check(role, webhookEnv, given, mistakes);
      return { role, ...shared(vars), ops: vars.OPS_ADDRESS, listen: vars.WEBHOOK_ADDRESS, tlsDir: vars.TLS_DIR };
    }
    case "reconciler": {
      given["OPERATOR_NAMESPACE"] ??= ownNamespace(read);
      const vars = check(role, reconcilerEnv, given, mistakes);
      const namespace = vars.OPERATOR_NAMESPACE;
      return {
        role,
        ...shared(vars),
        ops: vars.OPS_ADDRESS,
        operator: vars.OPERATOR_ADDRESS,
        nats: { servers: vars.NATS_URL.map((url) => new Sensitive(url)), credsFile: vars.NATS_CREDS_FILE },
        kubeconfig: vars.KUBECONFIG,
        operatorNamespace: namespace,
        webhookTLS: {
          managed: vars.WEBHOOK_CERTIFICATES === "own",
          secretName: vars.WEBHOOK_TLS_SECRET,
          configurationName: vars.WEBHOOK_CONFIGURATION,
          dnsNames:
            vars.WEBHOOK_DNS_NAMES.length > 0 ? vars.WEBHOOK_DNS_NAMES : [`unified-rbac-webhook.${namespace}.svc`],
          ips: vars.WEBHOOK_IPS,
        },
        heartbeatMs: vars.HEARTBEAT_SECONDS,
        workers: vars.WORKERS,
        recheckMs: vars.RECHECK_SECONDS,
        driftMs: vars.DRIFT_SECONDS,
        identity: vars.POD_NAME ?? `reconciler-${process.pid}`,
        masterKeys,
      };
    }
    default:
      return role satisfies never;
  }
}

function shared(vars: { DATABASE_URL: string; LOG_LEVEL: LogLevel }): CommonConfig {
  return { databaseURL: new Sensitive(vars.DATABASE_URL), logLevel: vars.LOG_LEVEL };
}

/** A Secret mounted as a file stands in for the variable. Returns the mistake, if there is one. */
function takeDatabaseFile(given: Record<string, string>, read: ReadText): string | undefined {
  const path = given["DATABASE_URL_FILE"];
  if (path === undefined) return undefined;
  if (given["DATABASE_URL"] !== undefined) return "DATABASE_URL_FILE: give it or DATABASE_URL, not both";
  try {
    given["DATABASE_URL"] = read(path).trim();
    return undefined;
  } catch (error) {
    // So that the missing variable is not named a second time.
    given["DATABASE_URL"] = "postgres://unreadable";
    return `DATABASE_URL_FILE: the file cannot be read (${error instanceof Error && "code" in error ? String(error.code) : "unknown error"})`;
  }
}

/** Lines of `<version>: <key>`, as the variable MASTER_KEYS or as a file. */
function takeMasterKeys(
  given: Readonly<Record<string, string>>,
  read: ReadText,
  mistakes: string[],
): MasterKeys | undefined {
  const { MASTER_KEYS: text, MASTER_KEYS_FILE: path } = given;
  if (text !== undefined && path !== undefined) {
    mistakes.push("MASTER_KEYS_FILE: give it or MASTER_KEYS, not both");
    return undefined;
  }
  try {
    if (text !== undefined) return parseMasterKeys(text);
    return path === undefined ? undefined : parseMasterKeys(read(path));
  } catch (error) {
    const why =
      error instanceof Error && "code" in error ? `the file cannot be read (${String(error.code)})` : message(error);
    mistakes.push(`${path === undefined ? "MASTER_KEYS" : "MASTER_KEYS_FILE"}: ${why}`);
    return undefined;
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
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
