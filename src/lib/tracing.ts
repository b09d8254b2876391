/** Spans, as the code sees them. What keeps them is loaded only when tracing is on (src/ops/openTelemetry.ts). */

/**
 * All that a span may tell: ids and names that the platform or Kubernetes gives, and words of ours. No address of a
 * person, no text that a tenant wrote, no credential.
 */
export interface SpanAttributes {
  readonly "unified_rbac.user.uuid"?: string | undefined;
  readonly "unified_rbac.tenant.id"?: string | undefined;
  readonly "k8s.namespace.name"?: string | undefined;
  /** Name of the TenantUser. */
  readonly "unified_rbac.object.name"?: string | undefined;
  /** uid of the AdmissionReview's request. */
  readonly "unified_rbac.request.uid"?: string | undefined;
  readonly "unified_rbac.dry_run"?: boolean | undefined;
  readonly "unified_rbac.step"?: string | undefined;
  readonly "unified_rbac.attempt"?: number | undefined;
  readonly "unified_rbac.outcome"?: string | undefined;
  readonly "unified_rbac.upstream"?: string | undefined;
  readonly "unified_rbac.reason"?: string | undefined;
  readonly "error.type"?: string | undefined;
  readonly "http.request.method"?: string | undefined;
  readonly "http.response.status_code"?: number | undefined;
  readonly "http.route"?: string | undefined;
  readonly "server.address"?: string | undefined;
  readonly "server.port"?: number | undefined;
  readonly "messaging.system"?: "nats" | undefined;
  readonly "messaging.operation.name"?: "publish" | undefined;
  readonly "messaging.operation.type"?: "send" | undefined;
  readonly "messaging.destination.name"?: string | undefined;
  readonly "messaging.message.id"?: string | undefined;
}

export interface Span {
  /** 32 hexadecimal digits; undefined: nothing is traced. */
  readonly traceID: string | undefined;
  /** The W3C header that names this span as the parent of what it causes elsewhere. */
  readonly traceparent: string | undefined;
  set(attributes: SpanAttributes): void;
  /** Marks the span as failed: by a word of ours, or by the kind of an error, whose message may quote anybody. */
  fail(error: unknown): void;
}

/** One that whoever began it ends. */
export interface OpenSpan extends Span {
  end(): void;
}

export interface SpanOptions {
  /** Default: internal. */
  readonly kind?: "server" | "client" | "producer";
  readonly attributes?: SpanAttributes;
}

export interface Tracer {
  /**
   * Runs `work` in a span below `parent`, a traceparent; without one the span begins a trace. What `work` throws marks
   * the span as failed, and is thrown.
   */
  inTrace<T>(
    parent: string | undefined,
    name: string,
    options: SpanOptions,
    work: (span: Span) => Promise<T>,
  ): Promise<T>;
  /** Runs `work` in a span below the one that the caller runs in. Outside of every span there is none. */
  inSpan<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T>;
  /** The same for what is over at a moment that no promise tells. */
  open(name: string, options: SpanOptions): OpenSpan;
  /** Of the span that the caller runs in: for the headers of what leaves. Undefined: there is none. */
  traceparent(): string | undefined;
}

export const NO_SPAN: OpenSpan = {
  traceID: undefined,
  traceparent: undefined,
  set: () => undefined,
  fail: () => undefined,
  end: () => undefined,
};

/** Traces nothing. */
export const noTracer: Tracer = {
  inTrace: (_parent, _name, _options, work) => work(NO_SPAN),
  inSpan: (_name, _options, work) => work(NO_SPAN),
  traceparent: () => undefined,
  open: () => NO_SPAN,
};

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The value of a `traceparent` header, if it is one: version 00, with ids that are not zero. */
export function traceparentOf(value: unknown): string | undefined {
  if (typeof value !== "string" || !TRACEPARENT.test(value)) return undefined;
  const [version, traceID = "", spanID = ""] = value.split("-");
  return version === "00" && /[1-9a-f]/.test(traceID) && /[1-9a-f]/.test(spanID) ? value : undefined;
}
