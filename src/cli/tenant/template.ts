/** The files of flux/tenant, shipped beside the program, with their variables filled in. */
import { isScalar, parse, parseAllDocuments, visit } from "yaml";
import * as z from "zod";

import type { TenantSpecInput } from "../../api/tenant.ts";
import { readShipped } from "../../lib/shipped.ts";
import { documentText, toYAML } from "../../lib/yaml.ts";
import type { TenantValues } from "./values.ts";
import { isObject } from "../../lib/json.ts";

const HOME = "flux/tenant";

/** What can be added to the onboarding of a tenant: folders of flux/tenant. */
export const EXTRAS = ["external-secrets", "notifications"] as const;
export type Extra = (typeof EXTRAS)[number];

export interface TextFile {
  readonly name: string;
  readonly text: string;
}

/** What a platform adds to the Tenant: allow, limits and the like. Objects are merged, the rest replaced. */
export type TenantPatch = { readonly [Key in keyof TenantSpecInput]?: Partial<TenantSpecInput[Key]> };

const component = z.object({ resources: z.array(z.string()) });

/** The component's files, in the order of its kustomization, as they are shipped. */
export function templates(extras: readonly Extra[] = []): TextFile[] {
  return [HOME, ...extras.map((extra) => `${HOME}/${extra}`)].flatMap((folder) => {
    const { resources } = component.parse(parse(readShipped(`${folder}/kustomization.yaml`)));
    return resources.map((name) => ({ name, text: readShipped(`${folder}/${name}`) }));
  });
}

/** Throws on a missing value. Comments stay; the patch goes into the Tenant. */
export function fillIn(files: readonly TextFile[], values: TenantValues, patch: TenantPatch = {}): TextFile[] {
  return files.map(({ name, text }) => ({ name, text: filled(text, values, name === "tenant.yaml" ? patch : {}) }));
}

/** A value becomes the text of its field whatever it looks like, and so is quoted where a reader could doubt that. */
function filled(template: string, values: TenantValues, patch: TenantPatch): string {
  const documents = parseAllDocuments(template);
  if (!Array.isArray(documents)) throw new Error("flux/tenant has a file without an object");
  return documents
    .map((document) => {
      visit(document, {
        Node(_key, node) {
          if (isScalar(node) && typeof node.value === "string") node.value = substitute(node.value, { ...values });
          if (node.commentBefore != null) node.commentBefore = substitute(node.commentBefore, { ...values });
        },
      });
      if (document.commentBefore != null) document.commentBefore = substitute(document.commentBefore, { ...values });
      const spec: unknown = document.toJS().spec;
      for (const [key, value] of Object.entries(patch).filter(([, each]) => each !== undefined)) {
        document.setIn(["spec", key], document.createNode(merged(isObject(spec) ? spec[key] : undefined, value)));
      }
      return documentText(document).replace(/^---\n/, "");
    })
    .join("---\n");
}

/** A directory that kustomize, and so Flux, can apply. */
export function tenantDirectory(
  values: TenantValues,
  patch: TenantPatch = {},
  extras: readonly Extra[] = [],
): TextFile[] {
  const files = fillIn(templates(extras), values, patch);
  const kustomization = toYAML({
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: files.map(({ name }) => name),
  });
  return [{ name: "kustomization.yaml", text: kustomization }, ...files];
}

/** `${NAME}` and `${NAME:=default}`; a default may hold further variables, so the innermost come first. */
export function substitute(template: string, values: Readonly<Record<string, string | undefined>>): string {
  const innermost = /\$\{([A-Z_]+)(?::=([^${}]*))?\}/g;
  const missing = new Set<string>();
  let text = template;
  for (let before = ""; before !== text;) {
    before = text;
    text = text.replace(innermost, (_whole, name: string, fallback: string | undefined) => {
      const value = values[name] ?? fallback;
      if (value === undefined) missing.add(name);
      return value ?? "";
    });
  }
  if (missing.size > 0) throw new Error(`flux/tenant needs a value for ${[...missing].join(", ")}`);
  return text;
}

function merged(base: unknown, patch: unknown): unknown {
  if (!isObject(base) || !isObject(patch)) return patch;
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) if (value !== undefined) result[key] = merged(base[key], value);
  return result;
}
