import { type BodyLimits, MAX_BODY_BYTES } from "../lib/body.ts";

/**
 * Of what the API server sends, a single object must always be readable: one that is not would keep everybody's list and watch
 * from ever getting past it. How many labels stand in its 1.5 MiB, each of them again in managedFields, is its writer's
 * choice; this is more than fit.
 */
export const API_SERVER_LIMITS: BodyLimits = { bytes: MAX_BODY_BYTES, values: 1_000_000 };
