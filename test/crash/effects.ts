/**
 * The registry of kill points: every effect that a reconciler has on the world, by the upstream that it happens at.
 * Each has a point before and after it. An effect that is not named here cannot hide: a new method of the cluster or the
 * bus does not compile, and a write that no pattern below knows is reported by the process and fails the run.
 */
import type { Bus } from "../../src/bus/bus.ts";
import type { Cluster } from "../../src/kube/cluster.ts";

export const EFFECTS = [
  "kubernetes.setTenantFinalizer",
  "kubernetes.applyTenantStatus",
  "kubernetes.addFinalizer",
  "kubernetes.applyStatus",
  "kubernetes.createSecret",
  "kubernetes.replaceSecret",
  "kubernetes.deleteSecret",
  "kubernetes.recordEvent",
  "kubernetes.removeFinalizer",
  "keycloak.login",
  "keycloak.createUser",
  "keycloak.updateUser",
  "keycloak.joinGroup",
  "keycloak.leaveGroup",
  "keycloak.addRoles",
  "keycloak.removeRoles",
  "keycloak.invite",
  "keycloak.disableUser",
  "keycloak.removeCredential",
  "keycloak.unlinkProvider",
  "keycloak.revokeConsent",
  "keycloak.endSessions",
  "keycloak.releaseUser",
  "keycloak.deleteUser",
  "newapi.create",
  "newapi.rotate",
  "newapi.disable",
  "newapi.enable",
  "newapi.createAccount",
  "newapi.changeAccount",
  "newapi.setPassword",
  "newapi.setQuota",
  "newapi.lock",
  "newapi.unlock",
  "newapi.deleteAccount",
  "newapi.login",
  "newapi.logout",
  "newapi.createToken",
  "newapi.revealToken",
  "newapi.deleteToken",
  "postgres.mirrorTenant",
  "postgres.grantNamespaces",
  "postgres.bind",
  "postgres.rebind",
  "postgres.wait",
  "postgres.touch",
  "postgres.claim",
  "postgres.intent",
  "postgres.up",
  "postgres.finish",
  "postgres.release",
  "postgres.moveEmail",
  "postgres.beginDown",
  "postgres.down",
  "postgres.deleted",
  "postgres.retained",
  "postgres.handOver",
  "postgres.takeOver",
  "postgres.sent",
  "nats.publish",
] as const;
export type Effect = (typeof EFFECTS)[number];

/** Looks change nothing, so a process that dies there is no case of its own; but their answers can be lost. */
export const LOOKS = ["kubernetes.look", "keycloak.look", "newapi.look", "postgres.look"] as const;
export type Look = (typeof LOOKS)[number];

export type Happening = Effect | Look;
export type Point = `${"before" | "after"}:${Happening}`;

export const UPSTREAM_NAMES = ["kubernetes", "keycloak", "newapi", "postgres", "nats"] as const;
export type Upstream = (typeof UPSTREAM_NAMES)[number];

export function upstreamOf(happening: Happening): Upstream {
  const found = UPSTREAM_NAMES.find((name) => happening.startsWith(`${name}.`));
  if (found === undefined) throw new Error(`${happening} happens nowhere`);
  return found;
}

/** What each method of the cluster does. */
export const CLUSTER: { readonly [Method in keyof Cluster]: Happening } = {
  clusterID: "kubernetes.look",
  tenantUserCRD: "kubernetes.look",
  getTenantUser: "kubernetes.look",
  listTenantUsers: "kubernetes.look",
  applyTenantUserStatus: "kubernetes.applyStatus",
  addFinalizer: "kubernetes.addFinalizer",
  removeFinalizer: "kubernetes.removeFinalizer",
  listTenants: "kubernetes.look",
  getTenant: "kubernetes.look",
  applyTenantStatus: "kubernetes.applyTenantStatus",
  setTenantFinalizer: "kubernetes.setTenantFinalizer",
  getSecret: "kubernetes.look",
  listOwnSecrets: "kubernetes.look",
  createSecret: "kubernetes.createSecret",
  replaceSecret: "kubernetes.replaceSecret",
  tryCreateSecret: "kubernetes.look",
  tryReplaceSecret: "kubernetes.look",
  deleteSecret: "kubernetes.deleteSecret",
  namespaceActive: "kubernetes.look",
  recordEvent: "kubernetes.recordEvent",
  missingSecretRights: "kubernetes.look",
};

/** What each method of the bus does; a lost heartbeat or kick changes nothing, which the outages show. */
export const BUS: { readonly [Method in keyof Bus]: Happening | "passing" } = {
  connected: "passing",
  publishHeartbeat: "passing",
  kick: "passing",
  publishEvent: "nats.publish",
  consumeHeartbeat: "passing",
  lastProgress: "passing",
  close: "passing",
};

/** A call to Keycloak or to the gateway by what stands on the wire. Undefined: a write that nobody has named. */
export function happeningOfCall(method: string, url: URL, body: string): Happening | undefined {
  const { pathname: path } = url;
  if (path.endsWith("/protocol/openid-connect/token")) return "keycloak.login";
  if (path.includes("/admin/realms/")) return method === "GET" ? "keycloak.look" : keycloakWrite(method, path, body);
  if (method === "GET") return "newapi.look";
  return path.includes("/api/v1/") ? adminV1Write(method, path) : newApiWrite(method, path, body);
}

function adminV1Write(method: string, path: string): Effect | undefined {
  const verb = /\/api\/v1\/admin\/users(?:\/[^/]+\/(keys\/rotate|disable|enable))?$/.exec(path);
  if (verb === null || method !== "POST") return undefined;
  switch (verb[1]) {
    case undefined:
      return "newapi.create";
    case "keys/rotate":
      return "newapi.rotate";
    case "disable":
      return "newapi.disable";
    case "enable":
      return "newapi.enable";
    default:
      return undefined;
  }
}

/** Two paths of dialect new-api do several things; which one stands in the body. */
function newApiWrite(method: string, path: string, body: string): Effect | undefined {
  switch (`${method} ${path.replace(/\/sessions\/[^/]+$/, "/sessions/:sid").replace(/\/\d+(?=\/|$)/, "/:id")}`) {
    case "POST /api/user/":
      return "newapi.createAccount";
    case "PUT /api/user/":
      return "password" in objectIn(body) ? "newapi.setPassword" : "newapi.changeAccount";
    case "POST /api/user/manage":
      return MANAGED[String(objectIn(body)["action"])];
    case "DELETE /api/user/:id":
      return "newapi.deleteAccount";
    case "POST /api/user/login":
      return "newapi.login";
    case "POST /api/user/auth/logout":
    case "DELETE /api/user/sessions/:sid":
      return "newapi.logout";
    case "POST /api/token/":
      return "newapi.createToken";
    case "POST /api/token/:id/key":
      return "newapi.revealToken";
    case "DELETE /api/token/:id":
      return "newapi.deleteToken";
    default:
      return undefined;
  }
}

const MANAGED: Readonly<Record<string, Effect | undefined>> = {
  add_quota: "newapi.setQuota",
  disable: "newapi.lock",
  enable: "newapi.unlock",
};

function objectIn(body: string): Readonly<Record<string, unknown>> {
  return JSON.parse(body) as Readonly<Record<string, unknown>>;
}

function keycloakWrite(method: string, path: string, body: string): Effect | undefined {
  const [, rest = ""] = /\/users(\/.*)?$/.exec(path) ?? [];
  if (method === "POST" && /\/users\/?$/.test(path)) return "keycloak.createUser";
  if (/^\/[^/]+\/groups\/[^/]+$/.test(rest)) return method === "PUT" ? "keycloak.joinGroup" : "keycloak.leaveGroup";
  if (/^\/[^/]+\/role-mappings\/realm$/.test(rest))
    return method === "POST" ? "keycloak.addRoles" : "keycloak.removeRoles";
  if (/^\/[^/]+\/execute-actions-email$/.test(rest)) return "keycloak.invite";
  if (method === "DELETE" && /^\/[^/]+\/credentials\/[^/]+$/.test(rest)) return "keycloak.removeCredential";
  if (method === "DELETE" && /^\/[^/]+\/federated-identity\/[^/]+$/.test(rest)) return "keycloak.unlinkProvider";
  if (method === "DELETE" && /^\/[^/]+\/consents\/[^/]+$/.test(rest)) return "keycloak.revokeConsent";
  if (method === "POST" && /^\/[^/]+\/logout$/.test(rest)) return "keycloak.endSessions";
  if (!/^\/[^/]+$/.test(rest)) return undefined;
  if (method === "DELETE") return "keycloak.deleteUser";
  if (method !== "PUT") return undefined;
  const update = JSON.parse(body) as { attributes?: Record<string, unknown> };
  if (Object.keys(update).join() === "enabled") return "keycloak.disableUser";
  const released = update.attributes !== undefined && update.attributes["sme_user_uuid"] === undefined;
  return released ? "keycloak.releaseUser" : "keycloak.updateUser";
}

/** Statements by their names; those without one by their beginnings, which may be a comment that names them. */
const STATEMENTS: readonly (readonly [RegExp, Happening | "background"])[] = [
  [/^claim-due$/, "postgres.claim"],
  [/^(bind-new-user|insert-bound)$/, "postgres.bind"],
  [/^bind-row$/, "postgres.rebind"],
  [/^(put-waiting|wait-for-email|wait-for-tenant)$/, "postgres.wait"],
  [/^(touch-object|touch-secret)$/, "postgres.touch"],
  [/^move-email$/, "postgres.moveEmail"],
  [/^(wait-for-release|hand-over)$/, "postgres.handOver"],
  [/^take-over/, "postgres.takeOver"],
  [/^mirror-tenant$/, "postgres.mirrorTenant"],
  [/^grant-namespaces$/, "postgres.grantNamespaces"],
  [/^events-sent$/, "postgres.sent"],
  // Part of a record or of a choice, never alone; or housekeeping that the next period repeats.
  [/^(append-audit|enqueue-events|forget-bind-request|evict-row|delete from waiting)/, "background"],
  [/^(void-unconfirmed|touch-(unsettled|moved|waiting|for-status|tenant-rows|drifted)|compare-secrets)$/, "background"],
  [/^(resume-held|wake-for-secret|wake-long-obstructed|note-pending-told)$/, "background"],
  [/^(tell-ring|leave-ring)$/, "background"],
  [/^(event-deferred|event-parked|unpark-events|forget-sent-events|coalesce-events)$/, "background"],
  [/^delete-(unseen|ended|audit)$/, "background"],
  [
    /^(take-drift-check|give-back-lost|remove-tenant|mark-seen-deleted|end-waiting|end-saga|claim-realm)$/,
    "background",
  ],
  [/^(recheck-late|orphan-foreign)$/, "background"],
  // Whatever begins so and is none of the above looks.
  [
    /^(lock-tenant|known-rows|one-for-update|claimed-for-update|fence-row|rows-of-email|email-wishes|my-wish|quota)$/,
    "background",
  ],
];

const WRITES = /\b(insert into|update|delete from)\s/i;

/** A statement, or undefined: a write that nobody has named. */
export function happeningOfStatement(
  statement: { readonly name?: string; readonly text: string },
  values: readonly unknown[],
): Happening | "background" | undefined {
  const text = statement.text.trim();
  if (statement.name?.startsWith("record-") === true) return recordOf(text, values);
  const name = statement.name ?? /^\/\* (\S+) \*\//.exec(text)?.[1] ?? text;
  const known = STATEMENTS.find(([pattern]) => pattern.test(name));
  if (known !== undefined) return known[1];
  return WRITES.test(text.replaceAll("for update", "")) ? undefined : "postgres.look";
}

/** The record of an outcome, by what it sets. */
function recordOf(text: string, values: readonly unknown[]): Effect {
  const state = /\bstate = \$(\d+)/.exec(text)?.[1];
  const value = state === undefined ? undefined : values[Number(state) - 1];
  if (value === "deleting") return "postgres.beginDown";
  if (value === "deleted") return "postgres.deleted";
  if (value === "retained") return "postgres.retained";
  if (text.includes("lease_owner = null")) return value === "done" ? "postgres.finish" : "postgres.release";
  if (/\bdeleting = \$/.test(text)) return "postgres.down";
  return /\breached = \$/.test(text) ? "postgres.up" : "postgres.intent";
}
