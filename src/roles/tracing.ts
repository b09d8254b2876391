/** Traces of a role: OpenTelemetry where the environment asks for it, and otherwise nothing is loaded. */
import type { Part } from "../lib/lifecycle.ts";
import { isSagaError } from "../lib/errors.ts";
import { cleanFields, type Log } from "../lib/log.ts";
import { NO_SPAN, noTracer, type SpanAttributes, type Tracer } from "../lib/tracing.ts";
import type { TracingConfig } from "../lib/tracingConfig.ts";
import { ownVersion } from "./processMetrics.ts";

/** What spans show passes the filter of the log, and an error is told by its code. */
export const SHARED = {
  clean: (attributes: SpanAttributes) => cleanFields({ ...attributes }),
  kindOf(error: unknown): string {
    if (typeof error === "string") return error;
    if (isSagaError(error)) return error.code;
    return error instanceof Error ? error.name : typeof error;
  },
  none: NO_SPAN,
};

export interface Tracing {
  readonly tracer: Tracer;
  /** To be started first, so that it ends last and sends what the others have left. */
  readonly parts: readonly Part[];
}

export async function openTracing(
  config: TracingConfig | undefined,
  of: { readonly role: string; readonly log: Log },
): Promise<Tracing> {
  if (config === undefined) return { tracer: noTracer, parts: [] };
  const { makeOpenTelemetry } = await import("../ops/openTelemetry.ts");
  const { role, log } = of;
  const serviceName = `unified-rbac-${role}`;
  const { tracer, close } = makeOpenTelemetry({ config, serviceName, version: ownVersion(), log, ...SHARED });
  log.info("started sending traces", { sampler: config.sampler });
  return { tracer, parts: [{ name: "traces", start: () => undefined, stop: close }] };
}
