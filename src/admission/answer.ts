/** From a request to its answer: the one path that both webhooks share. */
import { GROUP, KINDS } from "../api/meta.ts";
import type { ADMISSION_OPERATIONS, ADMISSION_OUTCOMES } from "../api/metrics/admission.ts";
import type { TenantDirectory } from "../store/tenantDirectory.ts";
import { mutate } from "./mutate.ts";
import type { AdmissionCandidate } from "../store/admissions.ts";
import type { RecordCandidate, RecordOutcome } from "./record.ts";
import { type AdmissionRequest, allow, deny } from "./review.ts";
import { NO_SPAN, noTracer, type Span, type Tracer } from "../lib/tracing.ts";
import { type JSONObject, isObject } from "../lib/json.ts";
import { NOT_RECORDED, REFUSED_RECORD, validate, warningsOf } from "./validate.ts";

export type Webhook = "mutate" | "validate";

/** For log and metrics. */
export type AdmissionOutcome = (typeof ADMISSION_OUTCOMES)[number];
export type AdmissionOperation = (typeof ADMISSION_OPERATIONS)[number];

/** For metrics: what is asked of a TenantUser. Undefined: it is no admission request. */
export function operationOf(request: AdmissionRequest | undefined): AdmissionOperation {
  if (request === undefined || !isOurs(request)) return "other";
  return request.operation === "CREATE" ? "create" : "update";
}

export interface AdmissionAnswer {
  /** JSON text of an AdmissionReview. */
  readonly body: string;
  readonly outcome: AdmissionOutcome;
  /** The sentence of a denial. */
  readonly message?: string;
}

export interface AnswerDeps {
  readonly tenants: Pick<TenantDirectory, "lookup" | "loaded">;
  readonly record: RecordCandidate;
  /** Default: nothing is traced. */
  readonly tracer?: Tracer;
}

/** `span`: of the request; what the request causes belongs to its trace. */
export async function answerRequest(
  webhook: Webhook,
  request: AdmissionRequest,
  deps: AnswerDeps,
  span: Pick<Span, "traceparent"> = NO_SPAN,
): Promise<AdmissionAnswer> {
  const { uid, object } = request;
  if (!isOurs(request)) return { body: allow(uid), outcome: "allowed" };
  if (object === undefined) return denied(uid, 400, "The request has no object.");
  const { namespace } = request;
  if (namespace === "") return denied(uid, 400, "The request does not say in which namespace the object is.");
  if (isElsewhere(object, namespace)) return denied(uid, 400, "The object is not in the namespace of the request.");
  return webhook === "mutate" ? mutated(uid, object, namespace, deps) : await validated(request, deps, span);
}

/** A TenantUser itself, being made or changed. Everything else may pass: it was not asked for, and is not ours. */
function isOurs({ group, kind, subResource, operation }: AdmissionRequest): boolean {
  if (group !== GROUP || kind !== KINDS.TenantUser.kind || subResource !== "") return false;
  return operation === "CREATE" || operation === "UPDATE";
}

/** Never so in a request of the API server's. */
function isElsewhere({ metadata }: JSONObject, namespace: string): boolean {
  const named = isObject(metadata) ? metadata["namespace"] : undefined;
  return named !== undefined && named !== null && named !== namespace;
}

function mutated(uid: string, object: JSONObject, namespace: string, { tenants }: AnswerDeps): AdmissionAnswer {
  const patch = mutate(object, tenants.lookup(namespace)?.tenantID);
  const body = patch.length === 0 ? allow(uid) : allow(uid, { patch: JSON.stringify(patch) });
  return { body, outcome: "allowed" };
}

async function validated(
  request: AdmissionRequest,
  { tenants, record, tracer = noTracer }: AnswerDeps,
  { traceparent }: Pick<Span, "traceparent">,
): Promise<AdmissionAnswer> {
  const decision = validate(request, { tenant: tenants.lookup(request.namespace), loaded: tenants.loaded });
  if (!decision.allowed) return denied(request.uid, 403, decision.message);
  const { candidate, warnings } = decision;
  if (candidate === undefined || request.dryRun) return allowed(request.uid, warnings);
  const recorded = await tracer.inSpan("record admission", {}, () => record(tracedBy(candidate, traceparent)));
  return allowed(request.uid, [...warnings, ...recordWarnings(candidate, recorded)]);
}

function tracedBy(candidate: AdmissionCandidate, traceparent: string | undefined): AdmissionCandidate {
  const { cause } = candidate;
  return cause === undefined || traceparent === undefined
    ? candidate
    : { ...candidate, cause: { ...cause, traceparent } };
}

function recordWarnings(candidate: AdmissionCandidate, recorded: RecordOutcome): readonly string[] {
  if (recorded === undefined) return [NOT_RECORDED];
  return recorded === "refused" ? [REFUSED_RECORD] : warningsOf(candidate, recorded);
}

function allowed(uid: string, warnings: readonly string[]): AdmissionAnswer {
  const remark = warnings.includes(NOT_RECORDED) ? "unrecorded" : "warned";
  return { body: allow(uid, { warnings }), outcome: warnings.length === 0 ? "allowed" : remark };
}

function denied(uid: string, code: number, message: string): AdmissionAnswer {
  return { body: deny(uid, code, message), outcome: "denied", message };
}
