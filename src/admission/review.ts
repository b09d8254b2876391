/** AdmissionReview of admission.k8s.io/v1, in and out. Whatever comes in, a well-formed answer goes out. */

import { DNS_LABEL } from "../api/rules/patterns.ts";
import { isObject, type JSONObject } from "../lib/json.ts";

export const REVIEW_API_VERSION = "admission.k8s.io/v1";
/** object and oldObject together; etcd takes 1.5 MiB for one. */
export const LARGEST_BODY = 8 * 1024 * 1024;
/** Lists, maps and what stands in them: 8 MiB of empty lists would become a hundred times of what a manifest becomes. */
export const MOST_VALUES = 200_000;
/** A smaller body cannot have so many that it matters. */
const NEVER_MANY = 64 * 1024;
/** Kubernetes' own have 36 characters. */
const LONGEST_UID = 256;
const NAMESPACE = new RegExp(DNS_LABEL, "u");

export interface AdmissionRequest {
  readonly uid: string;
  readonly operation: string;
  readonly group: string;
  readonly kind: string;
  readonly subResource: string;
  /** "" where it cannot be a namespace's name. */
  readonly namespace: string;
  /** Absent where the API server does not know it yet. For log and traces alone. */
  readonly name?: string | undefined;
  readonly dryRun: boolean;
  readonly object: JSONObject | undefined;
  readonly oldObject: JSONObject | undefined;
}

/** Why a body is no request. `code` goes into the answer's status. */
export interface ReviewRefusal {
  /** "" where the body has none. */
  readonly uid: string;
  readonly code: 400 | 404 | 405 | 413 | 415 | 429 | 500;
  /** One sentence. */
  readonly message: string;
}

export type Parsed = { readonly request: AdmissionRequest } | { readonly refusal: ReviewRefusal };

/** A body as it came; `start`: the first bytes of one that was too large to keep. */
export type Body = { readonly bytes: Buffer } | { readonly start: Buffer };

export interface BodyHeaders {
  readonly "content-type"?: string | undefined;
  readonly "content-encoding"?: string | undefined;
}

/** Pure and total. */
export function parseReview(headers: BodyHeaders, body: Body): Parsed {
  if ("start" in body) {
    return refuse(uidIn(body.start), 413, "The request is larger than 8 MiB; make the object smaller.");
  }
  const { "content-type": contentType, "content-encoding": encoding } = headers;
  if (!isJSON(contentType)) {
    const given = contentType === undefined ? "absent" : JSON.stringify(contentType.slice(0, 100));
    return refuse(uidIn(body.bytes), 415, `The content type must be application/json, it is ${given}.`);
  }
  if (encoding !== undefined && encoding !== "identity") {
    return refuse("", 415, "The body must not be compressed.");
  }
  return parseJSON(body.bytes);
}

function isJSON(contentType: string | undefined): boolean {
  if (contentType === "application/json") return true;
  return contentType?.split(";", 1)[0]?.trim().toLowerCase() === "application/json";
}

function parseJSON(body: Buffer): Parsed {
  if (body.length > NEVER_MANY && hasTooManyValues(body)) {
    return refuse(uidIn(body), 413, `The request has more than ${MOST_VALUES} values; make the object smaller.`);
  }
  let review: unknown;
  try {
    review = JSON.parse(body.toString("utf8"));
  } catch {
    return refuse(uidIn(body), 400, `The body is not JSON; send an AdmissionReview of ${REVIEW_API_VERSION}.`);
  }
  const request = isObject(review) ? review["request"] : undefined;
  const given = isObject(request) ? text(request["uid"]) : "";
  const uid = given.length <= LONGEST_UID ? given : "";
  if (!isObject(review) || review["kind"] !== "AdmissionReview" || review["apiVersion"] !== REVIEW_API_VERSION) {
    return refuse(uid, 400, `The body is not an AdmissionReview of ${REVIEW_API_VERSION}.`);
  }
  if (!isObject(request) || uid === "") return refuse("", 400, "The AdmissionReview has no request with a uid.");
  const { operation, kind } = request;
  if (typeof operation !== "string" || !isObject(kind) || typeof kind["kind"] !== "string") {
    return refuse(uid, 400, "The request of the AdmissionReview does not say its operation and kind.");
  }
  return {
    request: {
      uid,
      operation,
      group: text(kind["group"]),
      kind: kind["kind"],
      subResource: text(request["subResource"]),
      namespace: NAMESPACE.test(text(request["namespace"])) ? text(request["namespace"]) : "",
      name: text(request["name"]).slice(0, LONGEST_UID) || undefined,
      dryRun: request["dryRun"] === true,
      object: isObject(request["object"]) ? request["object"] : undefined,
      oldObject: isObject(request["oldObject"]) ? request["oldObject"] : undefined,
    },
  };
}

/** For somebody whose body had to make room for others; `start`: its first bytes. */
export function tooMuch(start: Buffer): ReviewRefusal {
  return { uid: uidIn(start), code: 429, message: "Too much is being sent at once; send it again." };
}

/** JSON text of the answer "yes"; `patch` is JSON text as well. */
export function allow(uid: string, options: { patch?: string; warnings?: readonly string[] } = {}): string {
  const { patch, warnings } = options;
  return answer({
    uid,
    allowed: true,
    ...(patch === undefined ? {} : { patchType: "JSONPatch", patch: Buffer.from(patch).toString("base64") }),
    ...(warnings === undefined || warnings.length === 0 ? {} : { warnings }),
  });
}

/** JSON text of the answer "no". 403 for what the tenant wrote: Flux with `force` re-creates the object after 409 and 422. */
export function deny(uid: string, code: number, message: string): string {
  return answer({ uid, allowed: false, status: { code, message } });
}

function answer(response: JSONObject): string {
  return JSON.stringify({ apiVersion: REVIEW_API_VERSION, kind: "AdmissionReview", response });
}

function refuse(uid: string, code: ReviewRefusal["code"], message: string): Parsed {
  return { refusal: { uid, code, message } };
}

/** Where a body cannot be parsed: the API server writes `"request":{"uid":"..."` at its very beginning. */
function uidIn(body: Buffer): string {
  return /"request"\s*:\s*\{\s*"uid"\s*:\s*"([^"\\]{1,64})"/.exec(body.toString("latin1", 0, 512))?.[1] ?? "";
}

const [QUOTE, BACKSLASH, COMMA, LIST, MAP] = [0x22, 0x5c, 0x2c, 0x5b, 0x7b] as const;

/** Without parsing: what is begun or separated outside of text. */
function hasTooManyValues(body: Buffer): boolean {
  let values = 0;
  let inText = false;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (inText) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === COMMA || byte === LIST || byte === MAP) {
      values += 1;
      if (values > MOST_VALUES) return true;
    }
  }
  return false;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
