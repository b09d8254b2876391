/** What Flux refuses a whole folder for: a document in it that is no Kubernetes object, or one object twice. */
import { isObject } from "../../lib/json.ts";
import type { FileContent, ParsedManifest } from "./documents.ts";
import type { LintFinding } from "./finding.ts";
import { targetOf } from "./target.ts";

const HINT = "Flux refuses the whole folder for it: move it elsewhere, name it in .sourceignore, or make it an object";

/** About all that Flux reads; objects of ours have findings of their own for most of it. */
export function checkForFlux(contents: readonly FileContent[]): LintFinding[] {
  const others = contents.flatMap(({ manifests }) => manifests).filter((manifest) => targetOf(manifest) === undefined);
  return [
    ...contents
      .flatMap(({ plain }) => plain)
      .map(({ what, ...place }) => finding(place, `${what} is no Kubernetes object`)),
    ...others.flatMap(incomplete),
    ...twice(others),
  ];
}

function finding(place: ReturnType<ParsedManifest["at"]>, message: string): LintFinding {
  return { ...place, severity: "error", rule: "flux-object", message, hint: HINT };
}

function incomplete(manifest: ParsedManifest): LintFinding[] {
  const { kind, apiVersion, metadata } = manifest.value;
  const name = isObject(metadata) ? metadata["name"] : undefined;
  for (const [path, value] of [
    ["kind", kind],
    ["apiVersion", apiVersion],
    ["metadata.name", name],
  ] as const) {
    if (path === "metadata.name" && typeof kind === "string" && kind.endsWith("List")) continue;
    if (typeof value !== "string" || value === "") return [finding(manifest.at(path), `this object has no ${path}`)];
  }
  return [];
}

function twice(manifests: readonly ParsedManifest[]): LintFinding[] {
  const seen = new Map<string, ParsedManifest>();
  return manifests.flatMap((manifest): LintFinding[] => {
    const { apiVersion, kind, metadata } = manifest.value;
    if (typeof apiVersion !== "string" || typeof kind !== "string" || !isObject(metadata)) return [];
    const { name, namespace } = metadata;
    if (typeof name !== "string" || name === "") return [];
    const group = apiVersion.includes("/") ? apiVersion.split("/", 1)[0] : "";
    const key = JSON.stringify([group, kind, namespace ?? "", name]);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, manifest);
      return [];
    }
    const { file, line } = first.at("metadata.name");
    return [finding(manifest.at("metadata.name"), `${kind} ${name} stands in ${file}:${line} already`)];
  });
}
