import { expect, test } from "vitest";

import { originAt, type TenantAccess, tenantsBehind } from "../../../src/reconciler/access.ts";
import { makeTenantClients } from "../../../src/reconciler/tenants/clients.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";
import { makeFakeGateway, makeFakeRealm } from "../../support/fakeUpstreams.ts";
import { tenant } from "../../support/builders.ts";

/** An address that older rules let in, and that no parser takes. */
const UNREADABLE = "https://gw.example:70000";

function access(tenantID: string, gateway: string): TenantAccess {
  const spec = tenant({ tenantID, newapi: { url: gateway, credentialsSecretName: "newapi" } });
  return {
    tenantID,
    name: tenantID,
    spec,
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm: undefined,
    gateway: undefined,
  };
}

test("a Tenant with an address that cannot be read is held back alone, and throws in nobody's loop", () => {
  const all = [access("acme", "https://gateway.example.com/v1"), access("bad", UNREADABLE)];
  const [, bad] = all;
  expect(tenantsBehind(all, new Set([originAt(bad?.spec ?? tenant(), "newapi")]))).toEqual(["bad"]);
  expect(tenantsBehind(all, new Set(["https://gateway.example.com"]))).toEqual(["acme"]);
  expect(tenantsBehind(all, new Set())).toEqual([]);
});

test("an address that cannot be read gets no client but a finding that names it", () => {
  const clientsFor = makeTenantClients({ makeRealm: () => makeFakeRealm(), makeGateway: () => makeFakeGateway() });
  const { realm, gateway } = clientsFor(access("bad", UNREADABLE).spec, {
    keycloak: { kind: "present", value: { clientID: "id", clientSecret: new Sensitive("secret") } },
    newapi: { kind: "present", value: { token: new Sensitive("token") } },
    versions: { keycloak: "1", newapi: "1" },
  });
  expect(realm.kind).toBe("made");
  expect(gateway).toMatchObject({
    kind: "wrong",
    finding: { reason: "InvalidSpec", effect: "blocks", message: expect.stringContaining(UNREADABLE) as string },
  });
});
