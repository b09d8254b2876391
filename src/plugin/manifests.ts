/** People of a realm as manifests that adopt them. Pure. */
import { Document } from "yaml";
import { API_VERSION } from "../api/meta.ts";
import type { Stranger } from "../api/operator.ts";
import { sentence, validateTenantUser } from "../api/validate.ts";
import { printable } from "./text.ts";

export interface Manifest {
  readonly name: string;
  readonly email: string;
  readonly yaml: string;
}

export interface LeftOut {
  readonly who: string;
  readonly why: string;
}

/** A manifest for each who may be adopted; the others with the reason. Names are unique. */
export function manifestsOf(strangers: readonly Stranger[]): { manifests: Manifest[]; leftOut: LeftOut[] } {
  const manifests: Manifest[] = [];
  const leftOut: LeftOut[] = [];
  const names = new Set<string>();
  for (const stranger of strangers) {
    const { email = "", obstacle } = stranger;
    const name = freeName(email, names);
    const object = manifestOf(name, stranger);
    const [wrong] = obstacle === undefined ? validateTenantUser(object) : [];
    const why = obstacle ?? (wrong === undefined ? undefined : sentence(wrong));
    if (why !== undefined) {
      leftOut.push({ who: printable(email === "" ? stranger.username : email), why: printable(why) });
      continue;
    }
    names.add(name);
    manifests.push({ name, email, yaml: yamlOf(object, stranger) });
  }
  return { manifests, leftOut };
}

function manifestOf(name: string, { email, enabled, firstName, lastName, displayName }: Stranger): object {
  const spec = {
    email,
    displayName: said(displayName),
    firstName: said(firstName),
    lastName: said(lastName),
    // As it is: adoption lets nobody in who was locked out.
    enabled: enabled ? undefined : false,
  };
  const known = Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined));
  return { apiVersion: API_VERSION, kind: "TenantUser", metadata: { name }, spec: known };
}

function yamlOf(object: object, { id }: Stranger): string {
  const document = new Document(object);
  document.commentBefore = ` Adopts Keycloak user ${printable(id)}. Groups and roles that are not named here stay as they are.`;
  return document.toString({ lineWidth: 0 });
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
