import type { ObjectMeta } from "../../api/meta.ts";
import { REASON } from "../../api/reasons.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { DIALECTS } from "../../gateway/dialects/index.ts";
import type { Cluster } from "../../kube/cluster.ts";
import { isSagaError } from "../../lib/errors.ts";
import { Sensitive } from "../../lib/sensitive.ts";
import type { CredentialVersions } from "../../saga/revision.ts";
import type { Finding } from "../../saga/tenantReport.ts";
import { withoutEnd } from "../../lib/text.ts";

export interface KeycloakCredential {
  readonly clientID: string;
  readonly clientSecret: Sensitive;
}

/** The entries that the dialect names. */
export type GatewayCredential = Readonly<Record<string, Sensitive>>;

export type Credential<Value> =
  | { readonly kind: "present"; readonly value: Value }
  | { readonly kind: "wrong"; readonly finding: Finding }
  /** The API server does not answer, and the Secret was never read. */
  | { readonly kind: "unread" };

export interface TenantCredentials {
  readonly keycloak: Credential<KeycloakCredential>;
  readonly newapi: Credential<GatewayCredential>;
  readonly versions: CredentialVersions;
}

/** Secrets of the operator's namespace, read once for each version that the watch shows. */
export interface Credentials {
  read(spec: TenantSpec, signal: AbortSignal): Promise<TenantCredentials>;
  /** A Secret changed. False when no tenant uses it. */
  changed(name: string): boolean;
  /** All Secrets there are now. False when no tenant is concerned. */
  listed(items: readonly ObjectMeta[]): boolean;
}

type Entries = ReadonlyMap<string, Sensitive>;
type Read =
  | { readonly kind: "found"; readonly version: string; readonly entries: Entries }
  | { readonly kind: "absent" }
  | { readonly kind: "forbidden"; readonly message: string }
  | { readonly kind: "unread" };

export function makeCredentials(deps: { cluster: Pick<Cluster, "getSecret">; namespace: string }): Credentials {
  const { cluster, namespace } = deps;
  const held = new Map<string, Read>();
  const stale = new Set<string>();

  async function secret(name: string, signal: AbortSignal): Promise<Read> {
    const before = held.get(name);
    // A refusal says nothing of when it ends, so it is asked about again each time.
    if (before !== undefined && !stale.has(name) && (before.kind === "found" || before.kind === "absent"))
      return before;
    // Taken off the list first: a change that comes during the read puts it back.
    stale.delete(name);
    const now = await fetchSecret(name, signal);
    if (now.kind === "unread") {
      stale.add(name);
      if (before !== undefined) return before;
    }
    held.set(name, now);
    return now;
  }

  function finding(reason: string, name: string): (what: string) => Finding {
    const secretName = `Secret ${JSON.stringify(name)} in namespace ${JSON.stringify(namespace)}`;
    return (what) => ({ reason, effect: "blocks", message: `${secretName} ${what}` });
  }

  async function fetchSecret(name: string, signal: AbortSignal): Promise<Read> {
    try {
      const found = await cluster.getSecret(namespace, name, signal);
      if (found === undefined) return { kind: "absent" };
      return { kind: "found", version: versionOf(found.metadata), entries: decoded(found.data ?? {}) };
    } catch (error) {
      if (isSagaError(error) && error.class === "terminal") return { kind: "forbidden", message: error.message };
      return { kind: "unread" };
    }
  }

  return {
    async read({ keycloak, newapi }, signal) {
      const [ofRealm, ofGateway] = [
        await secret(keycloak.credentialsSecretName, signal),
        await secret(newapi.credentialsSecretName, signal),
      ];
      return {
        keycloak: credential(
          ofRealm,
          ["client-id", "client-secret"],
          finding(REASON.KeycloakCredentialsMissing, keycloak.credentialsSecretName),
          (entries) => ({ clientID: entries["client-id"].reveal(), clientSecret: entries["client-secret"] }),
        ),
        newapi: credential(
          ofGateway,
          DIALECTS[newapi.dialect].credentialKeys,
          finding(REASON.NewAPICredentialsMissing, newapi.credentialsSecretName),
          (entries) => entries,
        ),
        versions: { keycloak: versionNamed(ofRealm), newapi: versionNamed(ofGateway) },
      };
    },

    changed(name) {
      if (!held.has(name)) return false;
      stale.add(name);
      return true;
    },

    listed(items) {
      const present = new Map(items.map((item) => [item.name, versionOf(item)]));
      let any = false;
      for (const [name, read] of held) {
        const same =
          read.kind === "found" ? present.get(name) === read.version : read.kind === "absent" && !present.has(name);
        if (same) continue;
        stale.add(name);
        any = true;
      }
      return any;
    },
  };
}

function credential<Key extends string, Value>(
  read: Read,
  keys: readonly Key[],
  missing: (what: string) => Finding,
  make: (entries: Readonly<Record<Key, Sensitive>>) => Value,
): Credential<Value> {
  switch (read.kind) {
    case "unread":
      return { kind: "unread" };
    case "forbidden":
      return {
        kind: "wrong",
        finding: { ...missing(`cannot be read (${read.message})`), reason: REASON.MissingPermission },
      };
    case "absent":
      return { kind: "wrong", finding: missing(`does not exist; create it with ${keys.join(" and ")}.`) };
    case "found": {
      const lacking = keys.filter((key) => !read.entries.has(key));
      if (lacking.length > 0) return { kind: "wrong", finding: missing(`has no ${lacking.join(" and ")}; add it.`) };
      const entries = Object.fromEntries(keys.map((key) => [key, read.entries.get(key)]));
      return { kind: "present", value: make(entries as Record<Key, Sensitive>) };
    }
    default:
      return read satisfies never;
  }
}

/** Without the line break that `echo secret | base64` leaves behind. An empty entry is as good as none. */
function decoded(data: Readonly<Record<string, string>>): Entries {
  const entries = Object.entries(data).map(([name, base64]): [string, string] => [
    name,
    withoutEnd(Buffer.from(base64, "base64").toString("utf8"), "\r\n"),
  ]);
  return new Map(entries.filter(([, value]) => value !== "").map(([name, value]) => [name, new Sensitive(value)]));
}

function versionOf(meta: ObjectMeta): string {
  return `${meta.uid ?? ""}/${meta.resourceVersion ?? ""}`;
}

function versionNamed(read: Read): string {
  return read.kind === "found" ? read.version : read.kind;
}
