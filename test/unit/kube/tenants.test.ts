import { expect, test } from "vitest";
import type { ApiClient } from "../../../src/kube/apiClient.ts";
import { makeTenants } from "../../../src/kube/tenants.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { tenantSpecInput } from "../../support/tenantSpec.ts";

const tenantOf = (name: string, spec: unknown) => ({
  apiVersion: "catalyst.openova.io/v1alpha1",
  kind: "Tenant",
  metadata: { name, uid: name, resourceVersion: "1", generation: 1, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec,
  status: { accepted: tenantSpecInput(name) },
});

test("a Tenant whose spec does not fit is listed as such, with what was accepted of it, and the others as they are", async () => {
  const items = [tenantOf("acme", tenantSpecInput("acme")), tenantOf("odd", { tenantID: 7 })];
  const body = JSON.stringify({ metadata: { resourceVersion: "9" }, items });
  const connection: Partial<ApiClient> = {
    clock: systemClock,
    send: () => Promise.resolve({ status: 200, headers: new Headers(), text: body }),
  };
  const listed = await makeTenants(connection as ApiClient).listTenants(AbortSignal.timeout(1000));
  expect(listed.map(({ metadata, unreadable }) => [metadata.name, unreadable !== undefined])).toEqual([
    ["acme", false],
    ["odd", true],
  ]);
  expect(listed[1]?.unreadable).toContain("spec");
  expect(listed[1]?.status?.accepted).toMatchObject({ tenantID: "odd", namespaces: ["odd"] });
});
