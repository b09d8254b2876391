import { type Operation, type OperationTable, operationIn } from "../api/upstreamOperations.ts";

const OURS = String.raw`\/apis\/catalyst\.openova\.io\/[^/]+`;
const USERS = new RegExp(`${OURS}(/namespaces/[^/]+)?/tenantusers(/|$)`);
const USER = new RegExp(`${OURS}/namespaces/[^/]+/tenantusers/`);
const TENANTS = new RegExp(`${OURS}/tenants(/|$)`);
const TENANT = new RegExp(`${OURS}/tenants/`);
const SECRETS = /\/api\/v1\/namespaces\/[^/]+\/secrets(\/|$)/;
const SECRET = /\/api\/v1\/namespaces\/[^/]+\/secrets\//;

const CALLS: OperationTable<"kubernetes"> = [
  ["GET", USER, "get_tenantusers"],
  ["GET", USERS, "list_tenantusers"],
  ["PATCH", USERS, "patch_tenantusers"],
  ["GET", TENANT, "get_tenants"],
  ["GET", TENANTS, "list_tenants"],
  ["PATCH", TENANTS, "patch_tenants"],
  ["GET", SECRET, "get_secrets"],
  ["GET", SECRETS, "list_secrets"],
  ["POST", SECRETS, "create_secrets"],
  ["PUT", SECRETS, "update_secrets"],
  ["DELETE", SECRETS, "delete_secrets"],
  ["POST", /\/events$/, "create_events"],
  ["POST", /\/apis\/authorization\.k8s\.io\//, "review_access"],
  ["GET", /\/api\/v1\/namespaces\/[^/]+$/, "get_namespaces"],
  ["GET", /\/customresourcedefinitions\//, "get_crds"],
  ["*", /\/(mutating|validating)webhookconfigurations(\/|$)/, "webhook_configurations"],
];
const WATCHES: OperationTable<"kubernetes"> = [
  ["GET", USERS, "watch_tenantusers"],
  ["GET", TENANTS, "watch_tenants"],
  ["GET", SECRETS, "watch_secrets"],
];

export function kubernetesOperation(use: "call" | "watch", method: string, path: string): Operation<"kubernetes"> {
  return operationIn(use === "watch" ? WATCHES : CALLS, method, path);
}
