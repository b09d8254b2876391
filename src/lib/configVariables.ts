/** The environment variables of each role: one entry each, with its default and what it must be. */
import * as z from "zod";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Address {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export const DEFAULT_NAMESPACE = "unified-rbac-system";

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
    .transform(Number)
    .meta({ integer: { fallback, least, most } });

const seconds = (fallback: number, least: number, most: number) =>
  whole(fallback, least, most, " of seconds")
    .transform((n) => n * 1000)
    .meta({ integer: { fallback, least, most } });

const list = (text: string): string[] =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");

const listOf = (what: string, isOne: (entry: string) => boolean) =>
  z
    .string()
    .default("")
    .transform(list)
    .refine((entries) => entries.every(isOne), `must be ${what}, separated by commas`);

const name = (fallback: string) =>
  z.string().regex(DNS_NAME, "must be the name of a Kubernetes object (lower case)").default(fallback);

export const isPostgresURL = (text: string): boolean =>
  URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol);
const streamName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be the name of a stream: letters, digits, - and _");
const NATS_SCHEMES = /^(nats|tls):$/;
const nats = (text: string): boolean => URL.canParse(text) && NATS_SCHEMES.test(new URL(text).protocol);

const common = {
  DATABASE_URL: z
    .string("is required: postgres://user:password@host:5432/database, or DATABASE_URL_FILE with a path to it")
    .refine(isPostgresURL, "must be a URL that begins with postgres:// or postgresql://"),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(", ")}`).default("info"),
};

const databaseRole = z
  .string()
  .regex(/^[a-z_][a-z0-9_-]{0,62}$/, "must be the name of a role: lower-case letters, digits, hyphens and underscores")
  .optional();

export const migrateEnv = z
  .object({ ...common, WEBHOOK_DATABASE_ROLE: databaseRole, RECONCILER_DATABASE_ROLE: databaseRole })
  .refine(
    (vars) => vars.WEBHOOK_DATABASE_ROLE === undefined || vars.WEBHOOK_DATABASE_ROLE !== vars.RECONCILER_DATABASE_ROLE,
    { path: ["WEBHOOK_DATABASE_ROLE"], message: "must be another one than RECONCILER_DATABASE_ROLE" },
  );

export const webhookEnv = z
  .object({
    ...common,
    OPS_ADDRESS: address("0.0.0.0:8080"),
    WEBHOOK_ADDRESS: address("0.0.0.0:9443"),
    TLS_DIR: z.string().default("/tls"),
    TLS_HANDOVER_DIR: z.string().optional(),
    SHUTDOWN_DELAY_SECONDS: seconds(3, 0, 20),
    ADMISSION_CLIENT_CA_FILE: z.string().optional(),
    ADMISSION_CLIENT_NAMES: z.string().default("").transform(list),
  })
  .refine(({ ADMISSION_CLIENT_CA_FILE: ca, ADMISSION_CLIENT_NAMES: names }) => names.length === 0 || ca !== undefined, {
    path: ["ADMISSION_CLIENT_NAMES"],
    message: "means nothing without ADMISSION_CLIENT_CA_FILE: nobody is asked for a certificate",
  });

export const reconcilerEnv = z.object({
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
  NATS_NKEY_FILE: z.string().optional(),
  NATS_USER: z.string().optional(),
  NATS_PASSWORD: z.string().optional(),
  NATS_TOKEN: z.string().optional(),
  NATS_CA_FILE: z.string().optional(),
  NATS_CERT_FILE: z.string().optional(),
  NATS_KEY_FILE: z.string().optional(),
  NATS_HEARTBEAT_STREAM: streamName.optional(),
  NATS_EVENT_STREAM: streamName.optional(),
  KUBECONFIG: z.string().optional(),
  KUBERNETES_SERVICE_HOST: z.string().optional(),
  KUBERNETES_SERVICE_PORT: z.string().optional(),
  OPERATOR_NAMESPACE: name(DEFAULT_NAMESPACE),
  WEBHOOK_CERTIFICATES: z.enum(["own", "external"], "must be own or external").default("own"),
  WEBHOOK_TLS_SECRET: name("unified-rbac-webhook-tls"),
  TLS_HANDOVER_DIR: z.string().optional(),
  WEBHOOK_CONFIGURATION: name("unified-rbac"),
  WEBHOOK_DNS_NAMES: listOf("DNS names", (entry) => DNS_NAME.test(entry)),
  WEBHOOK_IPS: listOf("IP addresses", (entry) => IP.safeParse(entry).success),
  HEARTBEAT_SECONDS: seconds(30, 1, 60),
  WORKERS: whole(16, 1, 256, ""),
  RECHECK_SECONDS: seconds(60, 1, 86_400),
  DRIFT_SECONDS: seconds(600, 1, 86_400),
  POD_NAME: z.string().optional(),
  AUDIT_RETENTION_DAYS: whole(0, 0, 36_500, " of days").refine(
    (days) => days === 0 || days >= 30,
    "must be 0 (for ever) or at least 30",
  ),
  ENDED_RETENTION_DAYS: whole(0, 0, 36_500, " of days"),
});
