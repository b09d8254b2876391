/** One object by itself: what the API server and our admission say to it, and where. */
import { validate } from "../../admission/validate.ts";
import { applierRisks } from "../../api/appliers.ts";
import { GROUP, KINDS } from "../../api/meta.ts";
import { validateTenant, validateTenantUser, type Violation } from "../../api/validate.ts";
import type { KnownTenant } from "../../store/tenantDirectory.ts";
import type { LintFinding } from "./finding.ts";
import { hintFor } from "./hints.ts";
import { checkMetadata } from "./metadata.ts";
import { at, type LintTarget } from "./target.ts";

/** `tenant`: who the platform says the namespaces belong to; undefined: not known. */
export function checkManifest(target: LintTarget, tenant: KnownTenant | undefined): LintFinding[] {
  const { kind, manifest } = target;
  const { value } = manifest;
  const check = kind === "Tenant" ? validateTenant : validateTenantUser;
  const violations = [
    ...checkMetadata(value["metadata"], kind === "Tenant" ? "Cluster" : "Namespaced"),
    ...check(value).map(ofAnotherKind),
  ];
  const findings = violations.map((violation) => located(target, violation));
  if (violations.length === 0 && kind === "TenantUser") findings.push(...admission(target, tenant));
  for (const { field, name, deletes, message } of applierRisks(value["metadata"])) {
    // That a Tenant stays when its file goes is how it is shipped.
    if (kind === "Tenant" && !deletes) continue;
    findings.push({
      ...at(target, `metadata.${field}[${name}]`, message),
      severity: deletes ? "error" : "warning",
      rule: "applier",
    });
  }
  if (value["status"] !== undefined) {
    findings.push({
      ...at(target, "status", "is dropped by the API server: only the service writes it", "key"),
      severity: "warning",
      rule: "status",
      hint: "remove it",
    });
  }
  for (const { path, source } of manifest.disputed) {
    const field = path.split(".", 1)[0];
    if (field !== "spec" && field !== "metadata") continue;
    // Where it is refused already, its own finding stands there.
    if (violations.some((violation) => violation.path === path)) continue;
    findings.push({
      ...at(target, path, `${source} is text to Flux, and true or false to kubectl`),
      severity: "warning",
      rule: "disputed",
      hint: "put it in quotes",
    });
  }
  return findings;
}

function located(target: LintTarget, violation: Violation): LintFinding {
  const { path, rule, message } = violation;
  const { manifest } = target;
  const hint = hintFor(target.kind, violation, manifest.scalar(path));
  const part = rule === "unknown" ? "key" : "value";
  return { ...at(target, path, message, part), severity: "error", rule, ...(hint !== undefined && { hint }) };
}

/** The group is ours, the kind is not: the API server knows none of that name. */
function ofAnotherKind(violation: Violation): Violation {
  if (violation.path !== "kind") return violation;
  return { ...violation, message: `must be ${Object.keys(KINDS).join(" or ")}, the kinds of ${GROUP}` };
}

/** The webhook's own decision. Without a Tenant it can say no more than the rules that were asked already. */
function admission(target: LintTarget, tenant: KnownTenant | undefined): LintFinding[] {
  const namespaces = tenant?.spec.namespaces ?? [];
  const namespace = target.namespace ?? (namespaces.length === 1 ? namespaces[0] : undefined) ?? "";
  const claimed = tenant !== undefined && (namespace === "" || namespaces.includes(namespace)) ? tenant : undefined;
  const decision = validate(
    {
      uid: "lint",
      operation: "CREATE",
      group: GROUP,
      kind: KINDS.TenantUser.kind,
      subResource: "",
      namespace,
      dryRun: true,
      object: target.manifest.value,
      oldObject: undefined,
    },
    { tenant: claimed, loaded: tenant !== undefined },
  );
  if (!decision.allowed) {
    const [path = ""] = /^\S+(?=: )/.exec(decision.message) ?? [];
    return [{ ...target.manifest.at(path), message: decision.message, severity: "error", rule: "admission" }];
  }
  if (tenant === undefined) return [];
  return decision.warnings
    .filter((message) => !message.startsWith("metadata."))
    .map((message): LintFinding => ({
      ...target.manifest.at("metadata.namespace"),
      message,
      severity: "warning",
      rule: "admission",
    }));
}
