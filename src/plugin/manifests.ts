/** People of a realm as manifests that adopt them. Pure. */
import { Document } from "yaml";
import { API_VERSION } from "../api/meta.ts";
import type { UnmanagedUser } from "../api/operator.ts";
import { profileFields } from "../api/tenantUser.ts";
import { sentence, validateTenantUser } from "../api/validate.ts";
import { documentText } from "../lib/yaml.ts";
import { printable } from "./text.ts";

export interface UserManifest {
  readonly name: string;
  readonly email: string;
  readonly yaml: string;
}

export interface LeftOut {
  readonly who: string;
  readonly why: string;
}

/** A manifest for each who may be adopted; the others with the reason. Names are unique. */
export function manifestsOf(unmanagedUsers: readonly UnmanagedUser[]): {
  manifests: UserManifest[];
  leftOut: LeftOut[];
} {
  const manifests: UserManifest[] = [];
  const leftOut: LeftOut[] = [];
  const names = new Set<string>();
  for (const unmanagedUser of unmanagedUsers) {
    const { email = "", obstacle } = unmanagedUser;
    const name = freeName(email, names);
    const object = manifestOf(name, unmanagedUser);
    const [wrong] = obstacle === undefined ? validateTenantUser(object) : [];
    const why = obstacle ?? (wrong === undefined ? undefined : sentence(wrong));
    if (why !== undefined) {
      leftOut.push({ who: printable(email === "" ? unmanagedUser.username : email), why: printable(why) });
      continue;
    }
    names.add(name);
    manifests.push({ name, email, yaml: yamlOf(object, unmanagedUser) });
  }
  return { manifests, leftOut };
}

function manifestOf(name: string, unmanagedUser: UnmanagedUser): object {
  const spec = {
    email: unmanagedUser.email,
    ...profileFields((field) => said(unmanagedUser[field])),
    // As it is: adoption lets nobody in who was locked out.
    enabled: unmanagedUser.enabled ? undefined : false,
  };
  const known = Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined));
  return { apiVersion: API_VERSION, kind: "TenantUser", metadata: { name }, spec: known };
}

function yamlOf(object: object, { id }: UnmanagedUser): string {
  const document = new Document(object);
  document.commentBefore = ` Adopts Keycloak user ${printable(id)}. Groups and roles that are not named here stay as they are.`;
  return documentText(document);
}

/** A name that Kubernetes takes, from the part before the @. */
function freeName(email: string, taken: ReadonlySet<string>): string {
  const local = email.toLowerCase().split("@", 1)[0] ?? "";
  const base = local
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 50)
    .replace(/-$/, "");
  const name = base === "" ? "person" : base;
  for (let n = 1; ; n += 1) {
    const candidate = n === 1 ? name : `${name}-${n}`;
    if (!taken.has(candidate)) return candidate;
  }
}

function said(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text;
}
