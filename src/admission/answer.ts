/** From a request to its answer: the one path that both webhooks share. */
import { GROUP, KINDS } from "../api/meta.ts";
import type { TenantDirectory } from "../store/tenantDirectory.ts";
import { mutate } from "./mutate.ts";
import type { RecordCandidate } from "./record.ts";
import { type AdmissionRequest, allow, deny, type JSONObject } from "./review.ts";
import { NOT_RECORDED, validate, warningsOf } from "./validate.ts";

export type Webhook = "mutate" | "validate";

/** For log and metrics. `error`: the input was no request, or we failed on it. */
export type Outcome = "allowed" | "warned" | "denied" | "error";

export interface Answer {
  /** JSON text of an AdmissionReview. */
  readonly body: string;
  readonly outcome: Outcome;
  /** The sentence of a denial. */
  readonly message?: string;
}

export interface AnswerDeps {
  readonly tenants: Pick<TenantDirectory, "lookup" | "loaded">;
  readonly record: RecordCandidate;
}

export async function answerRequest(webhook: Webhook, request: AdmissionRequest, deps: AnswerDeps): Promise<Answer> {
  const { uid, object } = request;
  if (!isOurs(request)) return { body: allow(uid), outcome: "allowed" };
  if (object === undefined) return denied(uid, 400, "The request has no object.");
  return webhook === "mutate" ? mutated(uid, object, request.namespace, deps) : await validated(request, deps);
}

/** A TenantUser itself, being made or changed. Everything else may pass: it was not asked for, and is not ours. */
function isOurs({ group, kind, subResource, operation }: AdmissionRequest): boolean {
  if (group !== GROUP || kind !== KINDS.TenantUser.kind || subResource !== "") return false;
  return operation === "CREATE" || operation === "UPDATE";
}

function mutated(uid: string, object: JSONObject, namespace: string, { tenants }: AnswerDeps): Answer {
  const patch = mutate(object, tenants.lookup(namespace)?.tenantID);
  const body = patch.length === 0 ? allow(uid) : allow(uid, { patch: JSON.stringify(patch) });
  return { body, outcome: "allowed" };
}

async function validated(request: AdmissionRequest, { tenants, record }: AnswerDeps): Promise<Answer> {
  const verdict = validate(request, { tenant: tenants.lookup(request.namespace), loaded: tenants.loaded });
  if (!verdict.allowed) return denied(request.uid, 403, verdict.message);
  const { candidate, warnings } = verdict;
  if (candidate === undefined || request.dryRun) return allowed(request.uid, warnings);
  const recorded = await record(candidate);
  const more = recorded === undefined ? [NOT_RECORDED] : warningsOf(candidate, recorded);
  return allowed(request.uid, [...warnings, ...more]);
}

function allowed(uid: string, warnings: readonly string[]): Answer {
  return { body: allow(uid, { warnings }), outcome: warnings.length === 0 ? "allowed" : "warned" };
}

function denied(uid: string, code: number, message: string): Answer {
  return { body: deny(uid, code, message), outcome: "denied", message };
}
