import type { GatewayDialect } from "../../dialect.ts";
import { makeLimitsByOrigin } from "./limits.ts";
import { CAPABILITIES, makeNewApiGateway } from "./newApiGateway.ts";

/** The admin API of the open-source program new-api. */
export const newApi: GatewayDialect<"token" | "user-id"> = {
  credentialKeys: ["token", "user-id"],
  needsMasterKeys: true,
  capabilities: CAPABILITIES,
  open({ limitRaised, ...deps }) {
    const limitsOf = makeLimitsByOrigin(deps.clock, limitRaised);
    return {
      make: ({ tenantID, url, credential }) =>
        makeNewApiGateway({
          ...deps,
          tenantID,
          url,
          token: credential.token,
          userID: credential["user-id"].reveal(),
          limits: limitsOf(url),
        }),
    };
  },
};
