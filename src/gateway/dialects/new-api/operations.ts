import type { OperationTable } from "../../../api/upstreamOperations.ts";

export const OPERATIONS: OperationTable<"newapi"> = [
  ["GET", /\/v1\/models$/, "verify_key"],
  ["*", /\/api\/user\/(login|token|auth\/logout|sessions\/[^/]+)$/, "login"],
  ["POST", /\/api\/user\/manage$/, "update_account"],
  ["PUT", /\/api\/user\/$/, "update_account"],
  ["POST", /\/api\/user\/$/, "create_account"],
  ["DELETE", /\/api\/user\/[^/]+$/, "delete_account"],
  ["GET", /\/api\/user\//, "find_account"],
  ["POST", /\/api\/token\/$/, "create_key"],
  ["POST", /\/api\/token\/[^/]+\/key$/, "read_key"],
  ["DELETE", /\/api\/token\/[^/]+$/, "delete_key"],
  ["GET", /\/api\/token\//, "list_keys"],
  ["GET", /\/api\/(status|group\/?)$/, "check"],
];
