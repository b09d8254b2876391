/** Which documents are ours, and as what. */
import { type JSONObject, isObject } from "../../lib/json.ts";
import { GROUP, KINDS, type Kind } from "../../api/meta.ts";
import type { ParsedManifest } from "./documents.ts";

/** One object of ours, as it stands in a file. */
export interface LintTarget {
  readonly kind: Kind;
  readonly manifest: ParsedManifest;
  /** metadata.name, where it is text; else "". */
  readonly name: string;
  /** What the caller says, else the file, else undefined: Flux decides. */
  readonly namespace: string | undefined;
  readonly spec: JSONObject;
}

/** Undefined: somebody else's, and passed over. What only looks like ours is taken for a TenantUser with a mistake. */
export function targetOf(manifest: ParsedManifest, namespace?: string): LintTarget | undefined {
  const { apiVersion, kind, spec, metadata } = manifest.value;
  const group = typeof apiVersion === "string" ? (apiVersion.split("/")[0] ?? "") : "";
  const ours = group === GROUP;
  const nameless = apiVersion === undefined && kind === undefined && isObject(spec) && "email" in spec;
  if (!ours && kind !== KINDS.TenantUser.kind && !nameless) return undefined;
  const { name, namespace: written } = isObject(metadata) ? metadata : {};
  const as: Kind = kind === KINDS.Tenant.kind && ours ? "Tenant" : "TenantUser";
  const own = typeof written === "string" && written !== "" ? written : undefined;
  return {
    kind: as,
    manifest,
    name: typeof name === "string" ? name : "",
    namespace: as === "Tenant" ? undefined : (namespace ?? own),
    spec: isObject(spec) ? spec : {},
  };
}

/** kind, namespace and name: the same for two manifests of one object. */
export function identityOf({ kind, namespace, name }: LintTarget): string {
  return `${kind} ${namespace ?? ""}/${name}`;
}

/** What the API server keeps of a manifest that it takes: a null is either refused or as good as nothing. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([, child]) => child !== null);
  return Object.fromEntries(kept.map(([name, child]) => [name, withoutNulls(child)]));
}

/** A finding's beginning and place are the same path. */
export function at(target: LintTarget, path: string, message: string, part?: "key" | "value") {
  return { ...target.manifest.at(path, part), message: path === "" ? message : `${path}: ${message}` };
}
