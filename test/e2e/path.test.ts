/** From a commit to a working account and back, on real parts. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { SAGA_STATES } from "../../src/api/tenantUser.ts";
import { kubectl } from "../../stack/kube.ts";
import { kustomizationsPath } from "../../stack/onboard.ts";
import { collectionPath } from "../../src/kube/objects.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import { seenKustomization, type TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("path", { patch: { allow: { groups: ["/team"] } } });
});
afterAll(() => platform?.close());

/** What the gateway answers to this key. */
async function opens(apiKey: string): Promise<number> {
  const headers = { authorization: `Bearer ${apiKey}` };
  return (await fetch(`${platform.env.NEWAPI_URL}/v1/models`, { headers })).status;
}

describe("a committed user", () => {
  it("becomes Ready through Flux with wait: true, and Flux does not report Ready before we do", async () => {
    const looking = new AbortController();
    // The cluster numbers all its writes in one row: which of two came first is no matter of our clock.
    let userReady: bigint | undefined;
    const fluxReady = new Map<string, bigint>();
    const follow = [
      platform.kube.follow(
        collectionPath("TenantUser", tenant.namespace),
        ({ object }) => {
          const { conditions } = object["status"] as { conditions?: { type: string; status: string }[] };
          const ready = conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
          if (ready) userReady ??= BigInt(object.metadata.resourceVersion ?? "0");
        },
        looking.signal,
      ),
      platform.kube.follow(
        kustomizationsPath(tenant.namespace),
        ({ object }) => {
          const { ready, lastAppliedRevision, resourceVersion } = seenKustomization(object);
          const commit = lastAppliedRevision.split(":").at(-1) ?? "";
          if (ready?.status === "True" && !fluxReady.has(commit)) fluxReady.set(commit, BigInt(resourceVersion));
        },
        looking.signal,
      ),
    ];
    // Slow enough that a Flux which does not wait would be the first.
    const slow = await platform.gateway.fault({ match: { method: "POST" }, action: { latencyMs: 1_500 } });
    try {
      const commit = await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") });
      await tenant.applied(commit);
      const byFlux = await soon(() => {
        const seen = fluxReady.get(commit);
        assert(seen !== undefined && userReady !== undefined);
        return seen;
      });
      assert(userReady !== undefined && userReady < byFlux);
    } finally {
      await platform.gateway.heal(slow);
      looking.abort();
      await Promise.all(follow);
    }
  });
});
