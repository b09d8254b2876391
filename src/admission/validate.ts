/** What admission decides about a manifest. Pure. */
import { applierRisks } from "../api/appliers.ts";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, LABEL_TENANT } from "../api/meta.ts";
import { candidateUUID, canonicalEmail, isUUIDv4 } from "../api/names.ts";
import { rulesOf } from "../api/rules/index.ts";
import { DNS_SUBDOMAIN } from "../api/rules/patterns.ts";
import { sentence, validateTenantUser, type Violation } from "../api/validate.ts";
import { otherUser } from "../saga/otherUser.ts";
import type { AdmissionCandidate, CandidateRecord } from "../store/admissions.ts";
import type { KnownTenant } from "../store/tenantDirectory.ts";
import { type AdmissionRequest } from "./review.ts";
import { type JSONObject, isObject } from "../lib/json.ts";

export type AdmissionDecision =
  | { readonly allowed: false; readonly message: string }
  | {
      readonly allowed: true;
      readonly warnings: readonly string[];
      /** What to record; absent: nothing. */
      readonly candidate?: AdmissionCandidate;
    };

/** What the webhook knows of the tenants at this moment. */
export interface TenantView {
  readonly tenant: KnownTenant | undefined;
  /** False: nothing is known yet, so "no tenant" means nothing. */
  readonly loaded: boolean;
}

const NOTHING: AdmissionDecision = { allowed: true, warnings: [] };
/** A sentence for people: of more mistakes than these it says how many there are. */
const MOST_NAMED = 20;
const LONGEST_SENTENCE = 500;
/** As the schema and Kubernetes have them: what is longer did not come from the API server. */
const LONGEST_EMAIL = 254;
const LONGEST_NAME = 253;
const NAME = new RegExp(DNS_SUBDOMAIN, "u");
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
const OBJECT_UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const RULES: ReadonlySet<string> = new Set(rulesOf("TenantUser").map((rule) => rule.name));

/**
 * Denies only what no later moment and no other object can right. Flux dry-runs all, applies all, then prunes: to deny a
 * rename because the old object still lives would lock the repository for ever.
 */
export function validate(request: AdmissionRequest, view: TenantView): AdmissionDecision {
  const { object, oldObject } = request;
  const metadata = object?.["metadata"];
  if (object === undefined || !isObject(metadata)) return { allowed: false, message: "The request has no object." };
  // On its way out: to refuse anything now could keep it for ever.
  if (metadata["deletionTimestamp"] !== undefined && metadata["deletionTimestamp"] !== null) return NOTHING;

  const wrong = violations(object, oldObject);
  if (wrong.length > 0) return { allowed: false, message: sentences(wrong) };

  const { tenant } = view;
  const risks = applierRisks(metadata).map(({ field, name, message }) => `metadata.${field}[${name}]: ${message}`);
  if (tenant === undefined) {
    return { allowed: true, warnings: [withoutTenant(request.namespace, view.loaded), ...risks] };
  }
  const label = labelOf(object);
  if (label !== undefined && label !== tenant.tenantID && label !== labelOf(oldObject)) {
    return {
      allowed: false,
      message: `metadata.labels[${LABEL_TENANT}]: must be ${tenant.tenantID}, the tenant of this namespace; leave the label out, it is set by the service`,
    };
  }
  const candidate = candidateOf(request, object["spec"], metadata, tenant);
  if (candidate === undefined) return { allowed: true, warnings: risks };
  return { allowed: true, warnings: risks, candidate };
}

/**
 * The rules only. The schema is the API server's: what reached us has passed it, and where our own says otherwise the
 * CRD is newer than this program. As in the API server, what an update leaves as it was is not held against it.
 */
function violations(object: JSONObject, oldObject: JSONObject | undefined): Violation[] {
  const found = validateTenantUser(object, oldObject).filter(({ rule }) => RULES.has(rule));
  if (found.length === 0 || oldObject === undefined) return found;
  return found.filter(({ path }) => {
    const field = path.split(/[.[]/, 2)[1] ?? "";
    return JSON.stringify(specField(object, field)) !== JSON.stringify(specField(oldObject, field));
  });
}

function sentences(wrong: readonly Violation[]): string {
  const named = wrong.slice(0, MOST_NAMED).map((violation) => sentence(violation).slice(0, LONGEST_SENTENCE));
  const more = wrong.length - named.length;
  return [...named, ...(more === 0 ? [] : [`and ${more} more`])].join("; ");
}

function specField(object: JSONObject, field: string): unknown {
  const { spec } = object;
  return isObject(spec) ? spec[field] : undefined;
}

function labelOf(object: JSONObject | undefined): unknown {
  const metadata = object?.["metadata"];
  const labels = isObject(metadata) ? metadata["labels"] : undefined;
  return isObject(labels) && Object.hasOwn(labels, LABEL_TENANT) ? labels[LABEL_TENANT] : undefined;
}

function candidateOf(
  request: AdmissionRequest,
  spec: unknown,
  metadata: JSONObject,
  tenant: KnownTenant,
): AdmissionCandidate | undefined {
  if (!isObject(spec)) return undefined;
  const { email, userUUID: pin } = spec;
  const { uid, name } = metadata;
  if (typeof email !== "string" || canonicalEmail(email).length > LONGEST_EMAIL || CONTROL.test(email))
    return undefined;
  if (typeof name !== "string" || name.length > LONGEST_NAME || !NAME.test(name)) return undefined;
  if (typeof uid !== "string" || !OBJECT_UID.test(uid)) return undefined;
  const derived = candidateUUID(tenant.tenantID, email);
  // A pin of another version must be this tenant's already: there is a row, or there must not be one.
  const pinned = typeof pin === "string" ? (isUUIDv4(pin) || pin === derived ? pin : undefined) : derived;
  return {
    uuid: pinned,
    tenantID: tenant.tenantID,
    email: canonicalEmail(email),
    objectUID: uid,
    namespace: request.namespace,
    name,
    isNew: request.operation === "CREATE",
    maxUsers: request.operation === "CREATE" ? tenant.spec.limits?.maxUsers : undefined,
    cause: asksForWork(request) && OBJECT_UID.test(request.uid) ? { requestUID: request.uid } : undefined,
  };
}

/** An update that only writes metadata of others begins nothing. */
function asksForWork({ object, oldObject }: AdmissionRequest): boolean {
  if (oldObject === undefined) return true;
  const asked = (of: JSONObject | undefined): string => {
    const metadata = of?.["metadata"];
    const annotations = isObject(metadata) ? metadata["annotations"] : undefined;
    const { [ANNOTATION_REQUESTED_AT]: requested, [ANNOTATION_ROTATE_REQUESTED_AT]: rotate } = isObject(annotations)
      ? annotations
      : {};
    return JSON.stringify([of?.["spec"], requested, rotate]);
  };
  return asked(object) !== asked(oldObject);
}

function withoutTenant(namespace: string, loaded: boolean): string {
  return loaded
    ? `no Tenant claims namespace ${namespace}: this user waits until the platform's operator adds it to one`
    : NOT_RECORDED;
}

/** The warning when Postgres does not answer. The watch records the object as well, so nothing is lost. */
export const NOT_RECORDED =
  "the request was not recorded yet, its database does not answer: it is carried out as soon as that is back";

/** The warning when Postgres refuses this one record. */
export const REFUSED_RECORD =
  "the request was not recorded at once: it is carried out when the service next sees the object";

/** What the record tells about the others; only a warning, for both pass by themselves. */
export function warningsOf(candidate: AdmissionCandidate, record: Pick<CandidateRecord, "heldBy" | "full">): string[] {
  const warnings: string[] = [];
  if (record.heldBy !== undefined) {
    const holder = otherUser(candidate.namespace, record.heldBy);
    warnings.push(`${candidate.email} still belongs to ${holder}: this user waits until it is free`);
  }
  if (record.full) {
    warnings.push(
      `the tenant has all ${candidate.maxUsers} users that it may have: this user waits until one is removed or the limit is raised`,
    );
  }
  return warnings;
}
