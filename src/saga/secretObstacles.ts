import { REASON } from "../api/reasons.ts";

/** What stands in the way of a Secret in its namespace. It is about the Secret, whichever step has met it. */
export const SECRET_OBSTACLES: readonly string[] = [
  REASON.SecretForeign,
  REASON.SecretTerminating,
  REASON.SecretRefused,
];
