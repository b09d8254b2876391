/** Spans as they would leave, kept in this process. */
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { silentLog } from "../../src/lib/log.ts";
import type { Tracer } from "../../src/lib/tracing.ts";
import type { SamplerName } from "../../src/lib/tracingConfig.ts";
import { makeOpenTelemetry } from "../../src/ops/openTelemetry.ts";
import { SHARED } from "../../src/roles/tracing.ts";

export interface CollectedSpan {
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer" | undefined;
  readonly trace: string;
  readonly id: string;
  /** Id of the span above it. */
  readonly parent: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
  readonly resource: Readonly<Record<string, unknown>>;
}

const KINDS = ["internal", "server", "client", "producer", "consumer"] as const;
const ERROR = 2;

export interface Collector {
  readonly tracer: Tracer;
  /** Ends the collecting. In the order in which they ended. */
  readonly all: () => Promise<readonly CollectedSpan[]>;
}

export function collectSpans(sampler: SamplerName = "parentbased_always_on", ratio = 1): Collector {
  const ended: ReadableSpan[] = [];
  const batch = { scheduledDelayMillis: 10, exportTimeoutMillis: 1_000, maxQueueSize: 2_048, maxExportBatchSize: 512 };
  const { tracer, close } = makeOpenTelemetry({
    config: { sampler, ratio, batch },
    serviceName: "unified-rbac-test",
    version: "1.2.3",
    log: silentLog,
    ...SHARED,
    exporter: {
      export(spans, done) {
        ended.push(...spans);
        done({ code: 0 });
      },
      shutdown: () => Promise.resolve(),
    },
  });
  return {
    tracer,
    async all() {
      await close();
      return ended.map(collected);
    },
  };
}

function collected(span: ReadableSpan): CollectedSpan {
  const { traceId: trace, spanId: id } = span.spanContext();
  return {
    name: span.name,
    kind: KINDS[span.kind],
    trace,
    id,
    parent: span.parentSpanContext?.spanId,
    attributes: span.attributes,
    failed: span.status.code === ERROR,
    resource: span.resource.attributes,
  };
}
