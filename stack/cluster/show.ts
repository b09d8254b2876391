/** What `make pod` and `make kind` show once there is a cluster, its upstreams, and the image in it. */
import { join } from "node:path";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { playJourney, timed } from "../demo/acts.ts";
import { demoPeople } from "../demo/people.ts";
import type { Screen } from "../demo/screen.ts";
import type { StackEnv } from "../env.ts";
import { kubectl } from "../kube.ts";
import { onboardTenant } from "../onboard.ts";
import type { TenantValues } from "../tenant.ts";
import { insideValues, installProduct } from "./install.ts";

export interface Show {
  /** Of a cluster: KUBECONFIG and kubectl, and the upstreams as this machine reaches them. */
  readonly env: StackEnv;
  readonly screen: Screen;
  /** How many people come with the commit. */
  readonly people: number;
  /** Number of the first act in its heading. */
  readonly first: number;
  /** Variables of flux/tenant that are other in this cluster. */
  readonly values?: Partial<TenantValues>;
}

const TENANT = "acme";

/** Installs the product, onboards a tenant, and shows the journey of its people through Git, Flux, Service and Pods. */
export async function showInCluster({ env, screen, people, first, values }: Show, signal: AbortSignal): Promise<void> {
  screen.heading(`${first}. The product: manifests/overlays/default, unchanged`);
  screen.waiting("applying, and waiting for both replicas");
  const { took } = await timed(() => installProduct(env));
  screen.line(`  both replicas are Ready, and the API server calls the webhook, after ${took}`);
  const pods = ["get", "pods", "-o", "wide", "-n", OPERATOR_NAMESPACE];
  screen.command(`kubectl ${pods.join(" ")}`, await kubectl(env, pods));

  screen.heading(`${first + 1}. Tenant ${TENANT}: realm, repository, credentials, namespace, Flux`);
  screen.waiting("onboarding");
  const { value: tenant, took: tenantTook } = await timed(async () => {
    // No time of grace: to see everything go at once.
    const made = await onboardTenant(env, {
      id: TENANT,
      values: { ...insideValues(env), DELETION_GRACE: "0s", ...values },
      patch: { allow: { emailDomains: [`${TENANT}.example`] } },
    });
    await made.ready();
    return made;
  });
  screen.line(`  onboarded, and its checks are green after ${tenantTook}`);
  const folder = join(env.STACK_DIR, "data", "demo");
  await playJourney({ env, tenant, people: demoPeople(TENANT, people), screen, folder, first: first + 2 }, signal);
}
