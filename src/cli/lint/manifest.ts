/** One object by itself: what the API server and our admission say to it, and where. */
import { validate } from "../../admission/validate.ts";
import { GROUP, KINDS } from "../../api/meta.ts";
import { validateTenant, validateTenantUser, type Violation } from "../../api/validate.ts";
import type { KnownTenant } from "../../store/tenantDirectory.ts";
import type { Finding } from "./finding.ts";
import { hintFor } from "./hints.ts";
import { checkMetadata } from "./metadata.ts";
import { at, type Subject } from "./subject.ts";

/** `tenant`: who the platform says the namespaces belong to; undefined: not known. */
export function checkManifest(subject: Subject, tenant: KnownTenant | undefined): Finding[] {
  const { kind, manifest } = subject;
  const { value } = manifest;
  const check = kind === "Tenant" ? validateTenant : validateTenantUser;
  const violations = [
    ...checkMetadata(value["metadata"], kind === "Tenant" ? "Cluster" : "Namespaced"),
    ...check(value).map(ofAnotherKind),
  ];
  const findings = violations.map((violation) => located(subject, violation));
  if (violations.length === 0 && kind === "TenantUser") findings.push(...admission(subject, tenant));
  if (value["status"] !== undefined) {
    findings.push({
      ...at(subject, "status", "is dropped by the API server: only the service writes it", "key"),
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
      ...at(subject, path, `${source} is text to Flux, and true or false to kubectl`),
      severity: "warning",
      rule: "disputed",
      hint: "put it in quotes",
    });
  }
  return findings;
}

function located(subject: Subject, violation: Violation): Finding {
  const { path, rule, message } = violation;
  const { manifest } = subject;
  const hint = hintFor(subject.kind, violation, manifest.scalar(path));
  const part = rule === "unknown" ? "key" : "value";
  return { ...at(subject, path, message, part), severity: "error", rule, ...(hint !== undefined && { hint }) };
}

/** The group is ours, the kind is not: the API server knows none of that name. */
function ofAnotherKind(violation: Violation): Violation {
  if (violation.path !== "kind") return violation;
  return { ...violation, message: `must be ${Object.keys(KINDS).join(" or ")}, the kinds of ${GROUP}` };
}

/** The webhook's own verdict. Without a Tenant it can say no more than the rules that were asked already. */
function admission(subject: Subject, tenant: KnownTenant | undefined): Finding[] {
  const namespaces = tenant?.spec.namespaces ?? [];
  const namespace = subject.namespace ?? (namespaces.length === 1 ? namespaces[0] : undefined) ?? "";
  const claimed = tenant !== undefined && (namespace === "" || namespaces.includes(namespace)) ? tenant : undefined;
  const verdict = validate(
    {
      uid: "lint",
      operation: "CREATE",
      group: GROUP,
      kind: KINDS.TenantUser.kind,
      subResource: "",
      namespace,
      dryRun: true,
      object: subject.manifest.value,
      oldObject: undefined,
    },
    { tenant: claimed, loaded: tenant !== undefined },
  );
  if (!verdict.allowed) {
    const [path = ""] = /^\S+(?=: )/.exec(verdict.message) ?? [];
    return [{ ...subject.manifest.at(path), message: verdict.message, severity: "error", rule: "admission" }];
  }
  if (tenant === undefined) return [];
  return verdict.warnings.map((message): Finding => ({
    ...subject.manifest.at("metadata.namespace"),
    message,
    severity: "warning",
    rule: "admission",
  }));
}
