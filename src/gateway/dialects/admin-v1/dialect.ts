import type { GatewayDialect } from "../../dialect.ts";
import { CAPABILITIES, makeAdminV1Gateway } from "./adminV1Gateway.ts";

/** The gateway's own admin API: one account for an external id, one key for an account. */
export const adminV1: GatewayDialect<"token"> = {
  credentialKeys: ["token"],
  needsMasterKeys: false,
  capabilities: CAPABILITIES,
  open: (deps) => ({ make: ({ url, credential }) => makeAdminV1Gateway({ ...deps, url, token: credential.token }) }),
};
