import type { OperationTable } from "../../../api/upstreamOperations.ts";

export const OPERATIONS: OperationTable<"newapi"> = [
  ["GET", /\/v1\/models$/, "verify_key"],
  ["GET", /\/admin\/users/, "find_account"],
  ["POST", /\/admin\/users$/, "create_account"],
  ["POST", /\/admin\/users\/[^/]+\/keys\/rotate$/, "create_key"],
  ["POST", /\/admin\/users\/[^/]+\/[^/]+$/, "update_account"],
];
