/** A TenantUser as the plugin reads it: whatever its spec, what is to be shown of it can be shown. */
import * as z from "zod";
import { type Condition, liveMeta } from "../api/meta.ts";
import { CONDITION, REASON } from "../api/reasons.ts";
import { tenantUserStatus } from "../api/tenantUser.ts";

const managedField = z.looseObject({
  manager: z.string().default(""),
  operation: z.string().default(""),
  subresource: z.string().optional(),
  fieldsV1: z.record(z.string(), z.unknown()).default({}),
});
export type ManagedField = z.infer<typeof managedField>;

export const person = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: liveMeta.extend({ namespace: z.string(), managedFields: z.array(managedField).default([]) }),
  // One stored under an older schema is still somebody to look at.
  spec: z.looseObject({
    email: z.string().catch(""),
    enabled: z.boolean().default(true).catch(true),
    suspend: z.boolean().default(false).catch(false),
  }),
  status: tenantUserStatus.optional().catch(undefined),
});
export type UserView = z.infer<typeof person>;

export type UserPhase =
  | "ready"
  /** It continues automatically. */
  | "underway"
  /** Somebody must act. */
  | "stalled"
  | "suspended"
  | "leaving"
  /** The reconciler has not observed it yet. */
  | "unseen";

/** What holds of a person, in one word and one sentence. */
export interface UserHealth {
  readonly phase: UserPhase;
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  readonly message: string;
  /** RFC 3339; undefined where nobody said. */
  readonly since: string | undefined;
  /** The status speaks of an older spec than the one that is there. */
  readonly behind: boolean;
}

export function conditionOf(of: UserView, type: string): Condition | undefined {
  return of.status?.conditions?.find((condition) => condition.type === type);
}

export function healthOf(of: UserView): UserHealth {
  const { deletionTimestamp, creationTimestamp, generation } = of.metadata;
  const ready = conditionOf(of, CONDITION.Ready);
  const behind = of.status?.observedGeneration !== undefined && of.status.observedGeneration < generation;
  if (deletionTimestamp !== undefined) {
    const said = ready?.reason === REASON.Deleting ? ready.message : "The object is being deleted.";
    return { phase: "leaving", reason: REASON.Deleting, message: said, since: deletionTimestamp, behind: false };
  }
  if (ready === undefined) {
    const message = "The reconciler has not observed this object yet.";
    return { phase: "unseen", reason: REASON.Progressing, message, since: creationTimestamp, behind: false };
  }
  const told = (phase: UserPhase, { reason, message, lastTransitionTime }: Condition): UserHealth => ({
    phase,
    reason,
    message,
    since: lastTransitionTime,
    behind,
  });
  const stalled = conditionOf(of, CONDITION.Stalled);
  const suspended = conditionOf(of, CONDITION.Suspended);
  if (suspended?.status === "True") return told("suspended", suspended);
  if (stalled?.status === "True") return told("stalled", stalled);
  return told(ready.status === "True" ? "ready" : "underway", ready);
}
