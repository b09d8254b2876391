/** The files of flux/tenant, shipped beside the program, with their variables filled in. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseDocument, stringify } from "yaml";
import * as z from "zod";

import type { TenantSpecInput } from "../../api/tenant.ts";
import type { TenantValues } from "./values.ts";

/** The same from the sources and from dist/. */
const HOME = join(import.meta.dirname, "..", "..", "..", "flux", "tenant");

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
  return [HOME, ...extras.map((extra) => join(HOME, extra))].flatMap((folder) => {
    const { resources } = component.parse(parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")));
    return resources.map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));
  });
}

/** Throws on a missing value. Comments stay; the patch goes into the Tenant. */
export function fillIn(files: readonly TextFile[], values: TenantValues, patch: TenantPatch = {}): TextFile[] {
  return files.map(({ name, text }) => {
    const filled = substitute(text, { ...values });
    return { name, text: name === "tenant.yaml" ? patched(filled, patch) : filled };
  });
}

/** A directory that kustomize, and so Flux, can apply. */
export function tenantDirectory(
  values: TenantValues,
  patch: TenantPatch = {},
  extras: readonly Extra[] = [],
): TextFile[] {
  const files = fillIn(templates(extras), values, patch);
  const kustomization = stringify({
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

function patched(text: string, patch: TenantPatch): string {
  const changes = Object.entries(patch).filter(([, value]) => value !== undefined);
  if (changes.length === 0) return text;
  const document = parseDocument(text);
  const spec: unknown = document.toJS().spec;
  for (const [key, value] of changes) {
    document.setIn(["spec", key], document.createNode(merged(isObject(spec) ? spec[key] : undefined, value)));
  }
  return document.toString();
}

function merged(base: unknown, patch: unknown): unknown {
  if (!isObject(base) || !isObject(patch)) return patch;
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) if (value !== undefined) result[key] = merged(base[key], value);
  return result;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
