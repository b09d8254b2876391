/** What a tenant sees in Flux, in the words of docs/tenant-guide.md: a good commit, a bad one, somebody who stalls, and the fixing. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { candidateUUID } from "../../src/api/names.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { KustomizationSeen, TestTenant } from "../support/tenant.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform();
});
afterAll(() => platform?.close());

/** Flux's last word on this commit, when it is no word of progress. */
function verdict(tenant: TestTenant, commit: string): Promise<NonNullable<KustomizationSeen["ready"]>> {
  return soon(async () => {
    const { ready, lastAttemptedRevision } = await tenant.kustomization();
    assert(lastAttemptedRevision.endsWith(commit) && ready !== undefined, "Flux has not tried it yet");
    assert(ready.status === "True" || (ready.status === "False" && ready.reason !== "Progressing"), ready.message);
    return ready;
  });
}

// Side by side: each waits for Flux most of the time.
describe.concurrent("the Kustomization with wait: true", { timeout: 240_000 }, () => {
  it("is Ready when the people are, and not before", async () => {
    const tenant = await platform.tenant("view-good");
    const fault = await platform.gateway.fault({
      match: { method: "POST", externalID: candidateUUID(tenant.id, tenant.email("ada")) },
      action: { status: 503 },
    });
    const commit = await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") });
    await soon(async () => {
      const user = await tenant.user("ada");
      assert((user?.status?.retryCount ?? 0) > 0, "the gateway was not tried yet");
    });
    const waiting = await tenant.kustomization();
    expect(waiting.lastAppliedRevision).not.toContain(commit);
    expect(waiting.ready?.status).not.toBe("True");

    await platform.gateway.heal(fault);
    expect((await verdict(tenant, commit)).message).toBe(`Applied revision: main@sha1:${commit}`);
    await tenant.person("ada");
  });

  it("says the whole sentence of a manifest that is refused, applies nothing of that commit, and takes the fixed one", async () => {
    const tenant = await platform.tenant("view-bad");
    await tenant.applied(await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") }));
    const ada = await tenant.person("ada");

    const bad = await tenant.commit({
      "users/bad.yaml": tenant.manifest("bad", { attributes: { sme_tenant_id: ["other"] } }),
      "users/eve.yaml": tenant.manifest("eve"),
      "users/ada.yaml": undefined,
    });
    expect((await verdict(tenant, bad)).message).toContain(
      "must not contain names beginning with sme_: they are reserved for the service's own marks",
    );
    expect(await tenant.user("eve")).toBeUndefined();
    expect(await tenant.person("ada")).toEqual(ada);

    const fixed = await tenant.commit({ "users/bad.yaml": tenant.manifest("bad") });
    expect((await verdict(tenant, fixed)).status).toBe("True");
    await tenant.person("bad");
    await tenant.person("eve");
    await tenant.gone("ada");
  });

  it("fails at once when somebody stalls, serves the others, and is Ready when the file is fixed", async () => {
    const tenant = await platform.tenant("view-stalled", { values: { TIMEOUT: "10m" } });
    const commit = await tenant.commit({
      "users/ada.yaml": tenant.manifest("ada"),
      "users/bob.yaml": tenant.manifest("bob", { groups: ["/admins"] }),
    });
    // Long before the timeout: it does not wait for somebody who cannot become Ready.
    const { reason, message } = await verdict(tenant, commit);
    expect(reason).toBe("HealthCheckFailed");
    expect(message).toMatch(/failed early due to stalled resources: \[TenantUser\/\S+\/bob status: 'Failed'\]$/);
    const stalled = await tenant.says("bob", "Ready", "False", "NotAllowed");
    expect(stalled.message).toContain('Group "/admins" is not allowed for this tenant');
    await tenant.person("ada");

    const fixed = await tenant.commit({ "users/bob.yaml": tenant.manifest("bob") });
    expect((await verdict(tenant, fixed)).status).toBe("True");
    await tenant.person("bob");
  });

  it("is Ready by itself, without a commit, when the platform allows what was asked for", async () => {
    const tenant = await platform.tenant("view-allowed", { patch: { newapi: { tier: "default" } } });
    const commit = await tenant.commit({ "users/ada.yaml": tenant.manifest("ada", { newapi: { tier: "gold" } }) });
    expect((await verdict(tenant, commit)).status).toBe("False");
    await tenant.says("ada", "Stalled", "True", "NotAllowed");

    const path = objectPath("Tenant", { name: tenant.id });
    await platform.kube.patch(path, { spec: { allow: { tiers: ["gold"] } } }, "platform");
    await tenant.person("ada");
    await tenant.applied(commit);
  });
});
