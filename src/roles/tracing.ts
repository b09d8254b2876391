/** Traces of a role: OpenTelemetry where the environment asks for it, and otherwise nothing is loaded. */
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { noTracer, type Tracer } from "../lib/tracing.ts";
import type { TracingConfig } from "../lib/tracingConfig.ts";
import { ownVersion } from "./processMetrics.ts";

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
  const { tracer, close } = makeOpenTelemetry({ config, serviceName, version: ownVersion(), log });
  log.info("started sending traces", { sampler: config.sampler });
  return { tracer, parts: [{ name: "traces", start: () => undefined, stop: close }] };
}
