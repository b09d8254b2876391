/** What admission completes in a manifest. Pure: no clock, no randomness, nothing of what Git wrote is changed. */
import { FINALIZER, LABEL_TENANT } from "../api/meta.ts";
import { difference, type PatchOperation } from "./patch.ts";
import { type JSONObject, isObject } from "../lib/json.ts";

/**
 * The finalizer, so that nobody's accounts are left behind, and the label with the tenant's id (for people), where it is
 * absent and the tenant known. An object that is being deleted gets neither: the finalizer would keep it for ever.
 */
export function mutate(object: JSONObject, tenantID: string | undefined): PatchOperation[] {
  const { metadata } = object;
  if (!isObject(metadata) || isSet(metadata["deletionTimestamp"])) return [];
  const before = pick(metadata);
  const after = { ...before };

  const finalizers = metadata["finalizers"] ?? [];
  if (Array.isArray(finalizers) && !finalizers.includes(FINALIZER)) after["finalizers"] = [...finalizers, FINALIZER];

  const labels = metadata["labels"] ?? {};
  if (tenantID !== undefined && isObject(labels) && !Object.hasOwn(labels, LABEL_TENANT)) {
    after["labels"] = { ...labels, [LABEL_TENANT]: tenantID };
  }
  return difference({ metadata: before }, { metadata: after });
}

/** All that may differ. */
function pick(metadata: JSONObject): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  if (Object.hasOwn(metadata, "finalizers")) picked["finalizers"] = metadata["finalizers"];
  if (Object.hasOwn(metadata, "labels")) picked["labels"] = metadata["labels"];
  return picked;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}
