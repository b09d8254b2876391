/**
 * What the service asks of its upstreams, as values of a metric label: a fixed list of names, never an address. Each
 * client maps its requests to these.
 */
import type { Upstream } from "../lib/errors.ts";

export const UPSTREAM_OPERATIONS = {
  keycloak: [
    "login",
    "get_realm",
    "find_users",
    "get_user",
    "create_user",
    "update_user",
    "delete_user",
    "user_groups",
    "user_roles",
    "reset_user",
    "send_invitation",
    "find_groups",
    "find_roles",
    "find_clients",
    "other",
  ],
  newapi: [
    "find_account",
    "create_account",
    "update_account",
    "delete_account",
    "login",
    "list_keys",
    "create_key",
    "read_key",
    "delete_key",
    "verify_key",
    "check",
    "other",
  ],
  kubernetes: [
    "get_tenantusers",
    "list_tenantusers",
    "watch_tenantusers",
    "patch_tenantusers",
    "get_tenants",
    "list_tenants",
    "watch_tenants",
    "patch_tenants",
    "get_secrets",
    "list_secrets",
    "watch_secrets",
    "create_secrets",
    "update_secrets",
    "delete_secrets",
    "create_events",
    "review_access",
    "get_namespaces",
    "get_crds",
    "webhook_configurations",
    "other",
  ],
} as const satisfies Partial<Record<Upstream, readonly string[]>>;

export type MeasuredUpstream = keyof typeof UPSTREAM_OPERATIONS;
export type Operation<Name extends MeasuredUpstream> = (typeof UPSTREAM_OPERATIONS)[Name][number];

/** Statuses that tell on-call people something by themselves; the others by their class; `none`: no answer. */
export const UPSTREAM_CODES = ["2xx", "3xx", "401", "403", "404", "409", "429", "4xx", "5xx", "none"] as const;
export type UpstreamCode = (typeof UPSTREAM_CODES)[number];

export function codeOf(status: number | undefined): UpstreamCode {
  if (status === undefined) return "none";
  const exact = UPSTREAM_CODES.find((code) => code === String(status));
  if (exact !== undefined) return exact;
  if (status >= 500) return "5xx";
  if (status >= 400) return "4xx";
  return status >= 300 ? "3xx" : "2xx";
}

/** One request as it leaves. */
export interface UpstreamCall<Name extends MeasuredUpstream = MeasuredUpstream> {
  readonly upstream: Name;
  readonly operation: Operation<Name>;
  readonly method: string;
  /** Scheme, host and port. */
  readonly origin: string;
}

export interface CallUnderWay {
  /** To be sent with it, beside its own. */
  readonly headers: { readonly traceparent?: string };
  /** To be called once. `status`: undefined when no complete answer came. */
  readonly over: (status: number | undefined) => void;
}

/** For metrics and traces: told of every request as it leaves, and when it is over. */
export type ObserveCall = (call: UpstreamCall) => CallUnderWay;

/** Which requests are which operation: the first line that fits, by method and by path below the upstream's root. */
export type OperationTable<Name extends MeasuredUpstream> = readonly (readonly [
  method: string,
  path: RegExp,
  operation: Operation<Name>,
])[];

export function operationIn<Name extends MeasuredUpstream>(
  table: OperationTable<Name>,
  method: string,
  path: string,
): Operation<Name> | "other" {
  const end = path.indexOf("?");
  const place = end < 0 ? path : path.slice(0, end);
  const line = table.find(([verb, pattern]) => (verb === "*" || verb === method) && pattern.test(place));
  return line?.[2] ?? "other";
}
