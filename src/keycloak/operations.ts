import type { OperationTable } from "../api/upstreamOperations.ts";

/** The requests of the admin client, and the login; the client ends the path of a collection with a slash. */
export const KEYCLOAK_OPERATIONS: OperationTable<"keycloak"> = [
  ["POST", /\/protocol\/openid-connect\/token$/, "login"],
  ["*", /\/realms\/[^/]+\/users\/profile$/, "get_realm"],
  ["GET", /\/realms\/[^/]+\/users\/?$/, "find_users"],
  ["POST", /\/realms\/[^/]+\/users\/?$/, "create_user"],
  ["GET", /\/realms\/[^/]+\/users\/[^/]+\/?$/, "get_user"],
  ["PUT", /\/realms\/[^/]+\/users\/[^/]+\/?$/, "update_user"],
  ["DELETE", /\/realms\/[^/]+\/users\/[^/]+\/?$/, "delete_user"],
  ["*", /\/realms\/[^/]+\/users\/[^/]+\/groups(\/|$)/, "user_groups"],
  ["*", /\/realms\/[^/]+\/users\/[^/]+\/role-mappings(\/|$)/, "user_roles"],
  ["*", /\/realms\/[^/]+\/users\/[^/]+\/(credentials|federated-identity|consents|logout)(\/|$)/, "reset_user"],
  ["PUT", /\/realms\/[^/]+\/users\/[^/]+\/execute-actions-email$/, "send_invitation"],
  ["*", /\/realms\/[^/]+\/groups(\/|$)/, "find_groups"],
  ["*", /\/realms\/[^/]+\/(roles|roles-by-id)(\/|$)/, "find_roles"],
  ["*", /\/realms\/[^/]+\/(clients|identity-provider)(\/|$)/, "find_clients"],
  ["GET", /\/admin\/realms\/[^/]+\/?$/, "get_realm"],
];
