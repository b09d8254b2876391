/** Which variables of the processes the chart's values set under `settings`, each by its own name: all that it does not set itself. */
import * as z from "zod";
import { migrateEnv, reconcilerEnv, webhookEnv } from "../../lib/configVariables.ts";

/** Set by templates, from other values or from the Pod. */
const SET_BY_TEMPLATES: ReadonlySet<string> = new Set([
  "DATABASE_URL",
  "WEBHOOK_DATABASE_ROLE",
  "RECONCILER_DATABASE_ROLE",
  "OPS_ADDRESS",
  "WEBHOOK_ADDRESS",
  "OPERATOR_ADDRESS",
  "OPERATOR_NAMESPACE",
  "POD_NAME",
  "TLS_DIR",
  "TLS_HANDOVER_DIR",
  "ADMISSION_CLIENT_CA_FILE",
  "ADMISSION_CLIENT_NAMES",
  "NATS_CREDS_FILE",
  "NATS_NKEY_FILE",
  "NATS_PASSWORD",
  "NATS_TOKEN",
  "NATS_CA_FILE",
  "NATS_CERT_FILE",
  "NATS_KEY_FILE",
  "KUBECONFIG",
  "KUBERNETES_SERVICE_HOST",
  "KUBERNETES_SERVICE_PORT",
  "WEBHOOK_CERTIFICATES",
  "WEBHOOK_TLS_SECRET",
  "WEBHOOK_CONFIGURATION",
  "WEBHOOK_DNS_NAMES",
  "WEBHOOK_IPS",
]);

/** What the chart sets unless the platform says otherwise, as in manifests/deploy. */
const DEFAULTS: Readonly<Record<string, string>> = { LOG_LEVEL: "info", NATS_URL: "nats://nats.nats.svc:4222" };

const meta = z.looseObject({
  integer: z.object({ fallback: z.number(), least: z.number(), most: z.number() }).optional(),
});

/** As a value in YAML: a number where the variable is one, and the same enumeration or pattern. */
function valueOf(name: string, variable: z.ZodType): z.ZodType {
  const { integer } = meta.parse(variable.meta() ?? {});
  const { $schema: _, default: fallback, ...plain } = z.toJSONSchema(variable, { io: "input", unrepresentable: "any" });
  const preset = DEFAULTS[name];
  // Where the chart sets nothing, the program's own default holds.
  const own = integer?.fallback ?? fallback;
  const described = (schema: z.ZodType): z.ZodType =>
    preset === undefined && own !== undefined ? schema.meta({ default: own }) : schema;
  if (integer !== undefined) return described(z.int().min(integer.least).max(integer.most).optional());
  const kept = z.object({ enum: z.array(z.string()).optional(), pattern: z.string().optional() }).parse(plain);
  const text = kept.enum === undefined ? z.string() : z.enum(kept.enum);
  const checked =
    kept.pattern !== undefined && text instanceof z.ZodString ? text.regex(new RegExp(kept.pattern)) : text;
  return described(preset === undefined ? checked.optional() : checked.default(preset));
}

/** The name of each variable and what its value may be, in the order of configVariables.ts. */
export const settings: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  Object.entries<z.ZodType>({ ...migrateEnv.shape, ...webhookEnv.shape, ...reconcilerEnv.shape })
    .filter(([name]) => !SET_BY_TEMPLATES.has(name))
    .map(([name, variable]) => [name, valueOf(name, variable)]),
);
