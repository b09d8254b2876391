/**
 * The only module that loads OpenTelemetry. It is imported when tracing is on, and never otherwise. In the image it is a file
 * of its own, so it imports nothing of ours that another module has too: classes would be there twice.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Attributes,
  type Context,
  diag,
  DiagLogLevel,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span as OtelSpan,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer as OtelTracer,
} from "@opentelemetry/api";
import { setGlobalErrorHandler } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import {
  defaultResource,
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
  serviceNameEnvDetector,
} from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Log } from "../lib/log.ts";
import type { OpenSpan, Span, SpanAttributes, SpanOptions, Tracer } from "../lib/tracing.ts";
import type { SamplerName, TracingConfig } from "../lib/tracingConfig.ts";

export interface OpenTelemetry {
  readonly tracer: Tracer;
  /** Sends what is left, for three seconds at most. */
  readonly close: () => Promise<void>;
}

export interface OpenTelemetryOptions {
  readonly config: TracingConfig;
  /** service.name where OTEL_SERVICE_NAME gives none. */
  readonly serviceName: string;
  readonly version: string | undefined;
  readonly log: Log;
  /** Values as they may be shown. */
  readonly clean: (attributes: SpanAttributes) => Readonly<Record<string, unknown>>;
  /** What an error is, in a word. */
  readonly kindOf: (error: unknown) => string;
  /** The span where there is none. */
  readonly none: OpenSpan;
  /** Default: OTLP over HTTP, as protobuf, where the OTEL_EXPORTER_OTLP_* variables say. */
  readonly exporter?: SpanExporter;
}

const KIND = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
} as const;

const TELL_EVERY_MS = 60_000;
/** The process ends without what a collector does not take in this time. */
const CLOSE_MS = 3_000;

export function makeOpenTelemetry(options: OpenTelemetryOptions): OpenTelemetry {
  const { config, serviceName, version, log, exporter = new OTLPTraceExporter() } = options;
  tellFailures(log);
  // The variables win over what is only likely.
  const resource = defaultResource()
    .merge(resourceFromAttributes({ "service.name": serviceName, "service.version": version }))
    .merge(
      detectResources({
        detectors: [serviceInstanceIdDetector, resourceAttributesEnvDetector, serviceNameEnvDetector],
      }),
    );
  const provider = new TracerProvider({
    resource,
    sampler: samplerOf(config.sampler, config.ratio),
    spanProcessors: [new BatchSpanProcessor({ exporter, ...config.batch })],
  });
  return {
    tracer: makeTracer(provider.getTracer("unified-rbac", version), options),
    async close() {
      const late = sleep(CLOSE_MS, undefined, { ref: false });
      // What could not be sent has been told of already.
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
    },
  };
}

type TracerDeps = Pick<OpenTelemetryOptions, "clean" | "kindOf" | "none">;

function makeTracer(otel: OtelTracer, deps: TracerDeps): Tracer {
  const cleaned = (attributes: SpanAttributes): Attributes => present(deps.clean(attributes));
  const spanOf = (span: OtelSpan): OpenSpan => openSpan(span, cleaned, deps.kindOf);
  /** The span that the code runs in, wherever it awaits. */
  const running = new AsyncLocalStorage<Context>();

  function begin(parent: Context, name: string, { kind, attributes }: SpanOptions): OtelSpan {
    return otel.startSpan(
      name,
      {
        kind: kind === undefined ? SpanKind.INTERNAL : KIND[kind],
        ...(attributes === undefined ? {} : { attributes: cleaned(attributes) }),
      },
      parent,
    );
  }

  async function run<T>(
    parent: Context,
    name: string,
    options: SpanOptions,
    work: (span: Span) => Promise<T>,
  ): Promise<T> {
    const begun = begin(parent, name, options);
    const span = spanOf(begun);
    try {
      return await running.run(trace.setSpan(parent, begun), work, span);
    } catch (error) {
      span.fail(error);
      throw error;
    } finally {
      span.end();
    }
  }

  return {
    inTrace: (parent, name, options, work) => run(remote(parent), name, options, work),
    inSpan(name, options, work) {
      const parent = running.getStore();
      return parent === undefined ? work(deps.none) : run(parent, name, options, work);
    },
    open(name, options) {
      const parent = running.getStore();
      return parent === undefined ? deps.none : spanOf(begin(parent, name, options));
    },
    traceparent() {
      const context = running.getStore();
      const span = context && trace.getSpan(context);
      return span && spanOf(span).traceparent;
    },
  };
}

function openSpan(
  span: OtelSpan,
  cleaned: (attributes: SpanAttributes) => Attributes,
  kindOf: (error: unknown) => string,
): OpenSpan {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return {
    traceID: traceId,
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
    set: (attributes) => void span.setAttributes(cleaned(attributes)),
    fail(error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttributes(cleaned({ "error.type": kindOf(error) }));
    },
    end: () => span.end(),
  };
}

function present(attributes: Readonly<Record<string, unknown>>): Attributes {
  const entries = Object.entries(attributes).filter(([, value]) => value !== undefined);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- cleaning keeps texts, numbers and flags what they are
  return Object.fromEntries(entries) as Attributes;
}

/** A context whose span is elsewhere; the root where there is no such span. */
function remote(traceparent: string | undefined): Context {
  const [, traceId = "", spanId = "", flags = "00"] = traceparent?.split("-") ?? [];
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
}

function samplerOf(name: SamplerName, ratio: number): Sampler {
  const inherited = "parentbased_";
  if (name.startsWith(inherited)) {
    return new ParentBasedSampler({ root: rootSampler(name.slice(inherited.length), ratio) });
  }
  return rootSampler(name, ratio);
}

function rootSampler(name: string, ratio: number): Sampler {
  if (name === "always_off") return new AlwaysOffSampler();
  return name === "traceidratio" ? new TraceIdRatioBasedSampler(ratio) : new AlwaysOnSampler();
}

/** A collector that is away fails every few seconds: one line a minute. */
function tellFailures(log: Log): void {
  let toldAt = -Infinity;
  const tell = (fields: { readonly error?: unknown; readonly problem?: string }): void => {
    if (performance.now() - toldAt < TELL_EVERY_MS) return;
    toldAt = performance.now();
    log.warn("failed to send traces", fields);
  };
  setGlobalErrorHandler((error) => tell({ error }));
  const problem = (message: string): void => tell({ problem: message });
  const nothing = (): void => undefined;
  diag.setLogger(
    { error: problem, warn: problem, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
