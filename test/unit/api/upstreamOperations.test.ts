/** Requests as the clients send them, and the operation that each counts as. */
import { describe, expect, it } from "vitest";
import { codeOf, operationIn, UPSTREAM_OPERATIONS } from "../../../src/api/upstreamOperations.ts";
import { OPERATIONS as ADMIN_V1 } from "../../../src/gateway/dialects/admin-v1/operations.ts";
import { OPERATIONS as NEW_API } from "../../../src/gateway/dialects/new-api/operations.ts";
import { KEYCLOAK_OPERATIONS } from "../../../src/keycloak/operations.ts";
import { kubernetesOperation } from "../../../src/kube/operations.ts";

const R = "/admin/realms/acme";
const KEYCLOAK = [
  ["POST", "/realms/acme/protocol/openid-connect/token", "login"],
  ["GET", `/base${R}`, "get_realm"],
  ["GET", `${R}/users/profile`, "get_realm"],
  ["GET", `${R}/users/?q=sme_tenant_id:acme&first=0`, "find_users"],
  ["POST", `${R}/users/`, "create_user"],
  ["GET", `${R}/users/u-1`, "get_user"],
  ["PUT", `${R}/users/u-1`, "update_user"],
  ["DELETE", `${R}/users/u-1`, "delete_user"],
  ["GET", `${R}/users/u-1/groups`, "user_groups"],
  ["PUT", `${R}/users/u-1/groups/g-1`, "user_groups"],
  ["GET", `${R}/users/u-1/role-mappings/realm`, "user_roles"],
  ["POST", `${R}/users/u-1/logout`, "reset_user"],
  ["DELETE", `${R}/users/u-1/consents/app`, "reset_user"],
  ["PUT", `${R}/users/u-1/execute-actions-email?lifespan=1`, "send_invitation"],
  ["GET", `${R}/groups/g-1/members`, "find_groups"],
  ["GET", `${R}/roles/users`, "find_roles"],
  ["GET", `${R}/clients?clientId=realm-management`, "find_clients"],
  ["GET", `${R}/identity-provider/instances`, "find_clients"],
  ["GET", `${R}/a-place-that-nobody-asks`, "other"],
] as const;
const GATEWAY = [
  [ADMIN_V1, "GET", "https://g.example/v1/models", "verify_key"],
  [ADMIN_V1, "GET", "https://g.example/api/v1/admin/users?external_id=u", "find_account"],
  [ADMIN_V1, "POST", "https://g.example/api/v1/admin/users", "create_account"],
  [ADMIN_V1, "POST", "https://g.example/api/v1/admin/users/u/disable", "update_account"],
  [ADMIN_V1, "POST", "https://g.example/api/v1/admin/users/u/keys/rotate", "create_key"],
  [NEW_API, "GET", "https://g.example/v1/models", "verify_key"],
  [NEW_API, "GET", "https://g.example/api/status", "check"],
  [NEW_API, "GET", "https://g.example/api/group/", "check"],
  [NEW_API, "POST", "https://g.example/api/user/login", "login"],
  [NEW_API, "GET", "https://g.example/api/user/token", "login"],
  [NEW_API, "DELETE", "https://g.example/api/user/sessions/s1", "login"],
  [NEW_API, "GET", "https://g.example/api/user/search?keyword=a", "find_account"],
  [NEW_API, "GET", "https://g.example/api/user/7", "find_account"],
  [NEW_API, "POST", "https://g.example/api/user/", "create_account"],
  [NEW_API, "PUT", "https://g.example/api/user/", "update_account"],
  [NEW_API, "POST", "https://g.example/api/user/manage", "update_account"],
  [NEW_API, "DELETE", "https://g.example/api/user/7", "delete_account"],
  [NEW_API, "GET", "https://g.example/api/token/?p=1&page_size=100", "list_keys"],
  [NEW_API, "POST", "https://g.example/api/token/", "create_key"],
  [NEW_API, "POST", "https://g.example/api/token/9/key", "read_key"],
  [NEW_API, "DELETE", "https://g.example/api/token/9", "delete_key"],
  [NEW_API, "POST", "https://g.example/elsewhere", "other"],
] as const;
const OURS = "/apis/catalyst.openova.io/v1alpha1";
const KUBERNETES = [
  ["call", "GET", `${OURS}/namespaces/a/tenantusers/ada`, "get_tenantusers"],
  ["call", "GET", `${OURS}/tenantusers`, "list_tenantusers"],
  ["call", "GET", `${OURS}/namespaces/a/tenantusers`, "list_tenantusers"],
  ["watch", "GET", `${OURS}/tenantusers`, "watch_tenantusers"],
  ["call", "PATCH", `${OURS}/namespaces/a/tenantusers/ada/status`, "patch_tenantusers"],
  ["call", "GET", `${OURS}/tenants/acme`, "get_tenants"],
  ["call", "GET", `${OURS}/tenants`, "list_tenants"],
  ["watch", "GET", `${OURS}/tenants`, "watch_tenants"],
  ["call", "PATCH", `${OURS}/tenants/acme/status`, "patch_tenants"],
  ["call", "GET", "/api/v1/namespaces/a/secrets/s", "get_secrets"],
  ["call", "GET", "/api/v1/namespaces/a/secrets", "list_secrets"],
  ["watch", "GET", "/api/v1/namespaces/a/secrets", "watch_secrets"],
  ["call", "POST", "/api/v1/namespaces/a/secrets", "create_secrets"],
  ["call", "PUT", "/api/v1/namespaces/a/secrets/s", "update_secrets"],
  ["call", "DELETE", "/api/v1/namespaces/a/secrets/s", "delete_secrets"],
  ["call", "POST", "/apis/events.k8s.io/v1/namespaces/a/events", "create_events"],
  ["call", "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "review_access"],
  ["call", "GET", "/api/v1/namespaces/a", "get_namespaces"],
  ["call", "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tenantusers.x", "get_crds"],
  ["call", "PATCH", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/x", "webhook_configurations"],
  ["call", "GET", "/version", "other"],
] as const;

describe("an upstream's operation", () => {
  it.each(KEYCLOAK)("of Keycloak: %s %s is %s", (method, path, operation) => {
    expect(operationIn(KEYCLOAK_OPERATIONS, method, path)).toBe(operation);
  });

  it.each(GATEWAY)("of a gateway: %#", (table, method, url, operation) => {
    expect(operationIn(table, method, url)).toBe(operation);
  });

  it.each(KUBERNETES)("of the API server: a %s of %s %s is %s", (use, method, path, operation) => {
    expect(kubernetesOperation(use, method, path)).toBe(operation);
  });

  it("is shown above, whichever it is", () => {
    const shown = [KEYCLOAK, GATEWAY, KUBERNETES].map(
      (rows) => new Set<string>(rows.map((row) => row.at(-1) as string)),
    );
    const all = [UPSTREAM_OPERATIONS.keycloak, UPSTREAM_OPERATIONS.newapi, UPSTREAM_OPERATIONS.kubernetes];
    expect(shown).toEqual(all.map((names) => new Set<string>(names)));
  });
});

it("a status is a code where it tells something by itself, or else its class", () => {
  expect([undefined, 200, 204, 302, 400, 401, 404, 409, 418, 429, 500, 503].map(codeOf)).toEqual([
    "none",
    "2xx",
    "2xx",
    "3xx",
    "4xx",
    "401",
    "404",
    "409",
    "4xx",
    "429",
    "5xx",
    "5xx",
  ]);
});
