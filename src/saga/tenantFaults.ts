import { REASON } from "../api/reasons.ts";

/**
 * Refusals that are about the tenant and not about the person: its credential or its realm. They end for everybody at
 * once, when the Tenant's own check of that upstream passes again.
 */
export const TENANT_FAULTS: readonly string[] = [REASON.CredentialsRefused, REASON.RealmNotFound];
