/** The admin APIs that a gateway may speak; a name of the API without its line here does not compile. */
import type { DialectName } from "../../api/tenant.ts";
import type { GatewayDialect } from "../dialect.ts";
import { adminV1 } from "./admin-v1/dialect.ts";
import { newApi } from "./new-api/dialect.ts";

export const DIALECTS: Readonly<Record<DialectName, GatewayDialect>> = {
  "admin-v1": adminV1,
  "new-api": newApi,
};
