/** AdmissionReview of admission.k8s.io/v1, in and out. Whatever comes in, a well-formed answer goes out. */

export const REVIEW_API_VERSION = "admission.k8s.io/v1";
/** object and oldObject together; etcd takes 1.5 MiB for one. */
export const LARGEST_BODY = 8 * 1024 * 1024;

export interface AdmissionRequest {
  readonly uid: string;
  readonly operation: string;
  readonly group: string;
  readonly kind: string;
  readonly subResource: string;
  readonly namespace: string;
  readonly dryRun: boolean;
  readonly object: JSONObject | undefined;
  readonly oldObject: JSONObject | undefined;
}

export type JSONObject = Readonly<Record<string, unknown>>;

/** Why a body is no request. `code` goes into the answer's status. */
export interface Refusal {
  /** "" where the body has none. */
  readonly uid: string;
  readonly code: 400 | 404 | 405 | 413 | 415 | 500;
  /** One sentence. */
  readonly message: string;
}

export type Parsed = { readonly request: AdmissionRequest } | { readonly refusal: Refusal };

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
  let review: unknown;
  try {
    review = JSON.parse(body.toString("utf8"));
  } catch {
    return refuse(uidIn(body), 400, `The body is not JSON; send an AdmissionReview of ${REVIEW_API_VERSION}.`);
  }
  const request = isObject(review) ? review["request"] : undefined;
  const uid = isObject(request) && typeof request["uid"] === "string" ? request["uid"] : "";
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
      namespace: text(request["namespace"]),
      dryRun: request["dryRun"] === true,
      object: isObject(request["object"]) ? request["object"] : undefined,
      oldObject: isObject(request["oldObject"]) ? request["oldObject"] : undefined,
    },
  };
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

function refuse(uid: string, code: Refusal["code"], message: string): Parsed {
  return { refusal: { uid, code, message } };
}

/** Where a body cannot be parsed: the API server writes `"request":{"uid":"..."` at its very beginning. */
function uidIn(body: Buffer): string {
  return /"request"\s*:\s*\{\s*"uid"\s*:\s*"([^"\\]{1,64})"/.exec(body.toString("latin1", 0, 512))?.[1] ?? "";
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function isObject(value: unknown): value is JSONObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
