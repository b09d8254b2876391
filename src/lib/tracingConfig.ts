/** The standard variables of OpenTelemetry that say whether there are traces. What only the exporter needs, it reads itself. */
import * as z from "zod";

export const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = (typeof SAMPLERS)[number];

export interface TracingConfig {
  readonly sampler: SamplerName;
  /** Share of traces that are kept, from 0 to 1, for the samplers that take one. */
  readonly ratio: number;
  readonly batch: {
    readonly scheduledDelayMillis: number;
    readonly exportTimeoutMillis: number;
    readonly maxQueueSize: number;
    readonly maxExportBatchSize: number;
  };
}

const count = (fallback: number) =>
  z
    .string()
    .default(String(fallback))
    .refine((text) => /^\d{1,9}$/.test(text) && Number(text) > 0, "must be a whole number above 0")
    .transform(Number);

export const tracingEnv = z.object({
  OTEL_TRACES_SAMPLER: z.enum(SAMPLERS, `must be one of ${SAMPLERS.join(", ")}`).default("parentbased_always_on"),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .default("1")
    .refine((text) => /^(\d+(\.\d*)?|\.\d+)$/.test(text) && Number(text) <= 1, "must be a number from 0 to 1")
    .transform(Number),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: z
    .literal("http/protobuf", "must be http/protobuf: traces leave in no other way")
    .optional(),
  OTEL_BSP_SCHEDULE_DELAY: count(5_000),
  OTEL_BSP_EXPORT_TIMEOUT: count(30_000),
  OTEL_BSP_MAX_QUEUE_SIZE: count(2_048),
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: count(512),
});

/** Undefined: no traces. Mistakes are added to `mistakes`, one line each. */
export function tracingOf(given: Readonly<Record<string, string>>, mistakes: string[]): TracingConfig | undefined {
  if (!isOn(given)) return undefined;
  const { OTEL_EXPORTER_OTLP_PROTOCOL: protocol } = given;
  const parsed = tracingEnv.safeParse({
    ...(protocol === undefined ? {} : { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol }),
    ...given,
  });
  if (!parsed.success) {
    mistakes.push(...parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`));
    return undefined;
  }
  const { data } = parsed;
  return {
    sampler: data.OTEL_TRACES_SAMPLER,
    ratio: data.OTEL_TRACES_SAMPLER_ARG,
    batch: {
      scheduledDelayMillis: data.OTEL_BSP_SCHEDULE_DELAY,
      exportTimeoutMillis: data.OTEL_BSP_EXPORT_TIMEOUT,
      maxQueueSize: data.OTEL_BSP_MAX_QUEUE_SIZE,
      maxExportBatchSize: data.OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    },
  };
}

function isOn(given: Readonly<Record<string, string>>): boolean {
  const { OTEL_SDK_DISABLED: disabled, OTEL_TRACES_EXPORTER: exporter = "otlp" } = given;
  if (disabled?.toLowerCase() === "true" || exporter.toLowerCase() === "none") return false;
  return (given["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ?? given["OTEL_EXPORTER_OTLP_ENDPOINT"]) !== undefined;
}
