import { API_VERSION, KINDS } from "../../api/meta.ts";
import type { OpenWatch, Watch, WatchEvent } from "../../kube/cluster.ts";
import { pathSegment } from "../../lib/ids.ts";
import type { Credentials } from "./credentials.ts";
import { sameButStatus } from "./known.ts";
import type { Registry } from "./registry.ts";
import type { RequestQueue } from "./requests.ts";

const TENANTS_PATH = `/apis/${API_VERSION}/${KINDS.Tenant.plural}`;

export interface TenantWatchDeps {
  readonly openWatch: OpenWatch;
  readonly credentials: Pick<Credentials, "listed" | "changed">;
  readonly registry: Registry;
  readonly requests: RequestQueue;
  /** Where the credential Secrets are. */
  readonly operatorNamespace: string;
}

/** Watches the Tenants and the Secrets with their credentials; what changed is asked of the loop. */
export function watchTenants(deps: TenantWatchDeps): readonly Watch[] {
  const { openWatch, credentials, registry, requests, operatorNamespace } = deps;

  /** A written status concerns no other Tenant: all of them are loaded for anything else alone. */
  function onTenantEvent(event: WatchEvent): void {
    const each = event.kind === "modified" ? registry.known.get(event.object.uid ?? "") : undefined;
    if (event.kind !== "modified" || each === undefined || !sameButStatus(event.object, each.tenant.metadata)) {
      requests.reload();
      return;
    }
    each.seenVersion = event.object.resourceVersion;
    requests.notify();
  }

  function onSecretEvent(event: WatchEvent): void {
    const concerns = event.kind === "listed" ? credentials.listed(event.items) : credentials.changed(event.object.name);
    if (concerns) requests.reload();
  }

  return [
    openWatch({ path: TENANTS_PATH }, onTenantEvent),
    openWatch({ path: `/api/v1/namespaces/${pathSegment(operatorNamespace)}/secrets` }, onSecretEvent),
  ];
}
