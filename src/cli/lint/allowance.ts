/** What the platform's Tenant says to the tenant's people: known only where its manifest is at hand. */
import { isObject } from "../../lib/json.ts";
import { warningsOf } from "../../admission/validate.ts";
import { tenantID } from "../../api/names.ts";
import { tenant as tenantSchema } from "../../api/tenant.ts";
import { liveTenantUser } from "../../api/tenantUser.ts";
import { desire, refusal } from "../../saga/desired.ts";
import type { KnownTenant } from "../../store/tenantDirectory.ts";
import type { LintFinding } from "./finding.ts";
import { at, type LintTarget, withoutNulls } from "./target.ts";

/** The Tenant of a manifest that was found to be well. */
export function knownTenant({ manifest }: LintTarget): KnownTenant {
  const { metadata, spec } = tenantSchema.parse(withoutNulls(manifest.value));
  return { tenantID: tenantID(spec.tenantID), name: metadata.name, spec };
}

/** What the reconciler would refuse; `user` has passed every other check. It names one thing at a time, as in the cluster. */
export function checkAllowed(user: LintTarget, tenant: KnownTenant): LintFinding[] {
  const { metadata, ...rest } = user.manifest.value;
  const { namespace = "" } = user;
  const stored = { namespace, uid: "", resourceVersion: "", generation: 1, creationTimestamp: "" };
  const object = liveTenantUser.parse(
    withoutNulls({ ...rest, metadata: { ...(isObject(metadata) ? metadata : {}), ...stored } }),
  );
  const refused = refusal(desire(object, tenant.spec), tenant.spec);
  if (refused === undefined) return [];
  return [
    { ...at(user, pathOf(refused.message, user.spec), refused.message), severity: "error", rule: refused.reason },
  ];
}

/** The surplus waits; who that is depends on the cluster (the oldest come first), so the last in order are named. */
export function checkNumber(users: readonly LintTarget[], tenant: KnownTenant): LintFinding[] {
  const { maxUsers } = tenant.spec.limits ?? {};
  if (maxUsers === undefined) return [];
  return users.slice(maxUsers).flatMap((user) =>
    warningsOf({ ...NOBODY, tenantID: tenant.tenantID, maxUsers }, { heldBy: undefined, full: true }).map(
      (message): LintFinding => ({
        ...user.manifest.at("metadata.name"),
        message,
        severity: "error",
        rule: "QuotaFull",
      }),
    ),
  );
}

/** For a sentence that speaks of the number alone. */
const NOBODY = { uuid: undefined, email: "", objectUID: "", namespace: "", name: "", isNew: true } as const;

/** The list of the Tenant that the sentence speaks of, and the value that it quotes, lead to the field. */
function pathOf(message: string, spec: LintTarget["spec"]): string {
  const [, list = ""] = /(?:add it to|set) (\S+) of the Tenant/.exec(message) ?? [];
  const [, quoted = '""'] = /^[^"]*("(?:[^"\\]|\\.)*")/.exec(message) ?? [];
  const name = String(JSON.parse(quoted));
  switch (list) {
    case "allow.emailDomains":
      return "spec.email";
    case "allow.groups":
      return item("groups", name, spec);
    case "allow.realmRoles":
      return item("realmRoles", name, spec);
    case "allow.attributes":
      return `spec.attributes[${name}]`;
    case "allow.tiers":
      return "spec.newapi.tier";
    case "allow.retain":
      return "spec.deletionPolicy";
    case "limits.maxQuota":
      return "spec.newapi.quota";
    case "allow.secretPrefixes":
      return "spec.secret.name";
    case "allow.secretMetadata": {
      const { secret } = spec;
      const labels = isObject(secret) ? secret["labels"] : undefined;
      const field = isObject(labels) && Object.hasOwn(labels, name) ? "labels" : "annotations";
      return `spec.secret.${field}[${name}]`;
    }
    default:
      return "spec";
  }
}

function item(field: string, name: string, spec: LintTarget["spec"]): string {
  const list = spec[field];
  const index = Array.isArray(list) ? list.indexOf(name) : -1;
  return index < 0 ? `spec.${field}` : `spec.${field}[${index}]`;
}
