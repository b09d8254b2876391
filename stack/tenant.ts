/** Onboards a tenant from the files that are shipped in flux/tenant, filled in as Flux's post-build substitution does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments, stringify } from "yaml";
import * as z from "zod";

import type { TenantSpecInput } from "../src/api/tenant.ts";
import { projectRoot } from "./paths.ts";

/** The variables of flux/README.md. What has a default there may be absent. */
export interface TenantValues {
  readonly TENANT: string;
  readonly NAMESPACE: string;
  readonly GIT_URL: string;
  readonly KEYCLOAK_URL: string;
  readonly KEYCLOAK_REALM: string;
  readonly NEWAPI_URL: string;
  readonly GIT_BRANCH?: string;
  readonly GIT_PATH?: string;
  readonly GIT_SECRET?: string;
  readonly KEYCLOAK_SECRET?: string;
  readonly NEWAPI_SECRET?: string;
  readonly NEWAPI_PUBLIC_URL?: string;
  readonly NEWAPI_DIALECT?: "admin-v1" | "new-api";
  readonly NEWAPI_TIER?: string;
  readonly DELETION_GRACE?: string;
  readonly INTERVAL?: string;
  readonly RETRY_INTERVAL?: string;
  readonly TIMEOUT?: string;
}

/** What a platform's patch adds to the Tenant: allow, limits and the like. Objects are merged, the rest replaced. */
export type TenantPatch = { readonly [Key in keyof TenantSpecInput]?: Partial<TenantSpecInput[Key]> };

const read = (file: string): string => readFileSync(join(projectRoot, "flux", "tenant", file), "utf8");
const kustomization = z.object({ resources: z.array(z.string()) });

/** YAML of everything that one tenant needs but its Secrets: for `kubectl apply -f -`. Throws on a missing variable. */
export function renderTenant(values: TenantValues, patch: TenantPatch = {}): string {
  const { resources } = kustomization.parse(parse(read("kustomization.yaml")));
  const text = substitute(resources.map(read).join("\n---\n"), { ...values });
  const objects = parseAllDocuments(text).map((document) => z.record(z.string(), z.unknown()).parse(document.toJS()));
  for (const object of objects) if (object["kind"] === "Tenant") object["spec"] = merged(object["spec"], patch);
  return objects.map((object) => stringify(object)).join("---\n");
}

export interface TenantCredentials {
  readonly keycloak: { readonly clientID: string; readonly clientSecret: string };
  readonly newapi: { readonly token: string; readonly userID?: string };
  /** A read-only account of the tenant's repository. */
  readonly git: { readonly username: string; readonly password: string };
}

/** YAML of the three Secrets that a platform makes by its own means; the namespaces must be there. */
export function renderTenantSecrets(
  values: TenantValues,
  credentials: TenantCredentials,
  operatorNamespace = "unified-rbac-system",
): string {
  const { keycloak, newapi, git } = credentials;
  return [
    secret(operatorNamespace, values.KEYCLOAK_SECRET ?? `${values.TENANT}-keycloak`, {
      "client-id": keycloak.clientID,
      "client-secret": keycloak.clientSecret,
    }),
    secret(operatorNamespace, values.NEWAPI_SECRET ?? `${values.TENANT}-newapi`, {
      token: newapi.token,
      ...(newapi.userID === undefined ? {} : { "user-id": newapi.userID }),
    }),
    secret(values.NAMESPACE, values.GIT_SECRET ?? "tenant-git", { username: git.username, password: git.password }),
  ].join("---\n");
}

function secret(namespace: string, name: string, stringData: Readonly<Record<string, string>>): string {
  return stringify({ apiVersion: "v1", kind: "Secret", type: "Opaque", metadata: { name, namespace }, stringData });
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

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
