/** Asks an upstream, in a heap in which its answers fit one after the other and not all together. */
import { parentPort, workerData } from "node:worker_threads";
import { makeLimits } from "../../src/gateway/dialects/new-api/limits.ts";
import { makeNewApiGateway } from "../../src/gateway/dialects/new-api/newApiGateway.ts";
import { makeRealm } from "../../src/keycloak/client.ts";
import { parseMasterKeys } from "../../src/lib/masterKeys.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";

const { url, what } = workerData as { readonly url: string; readonly what: "users" | "roles" | "accounts" };
const { signal } = new AbortController();
const clock = { now: Date.now };
const secret = new Sensitive("s");

const realm = () => makeRealm({ url, realm: "acme", clientID: "rbac", clientSecret: secret, clock });
const ada = {
  uuid: "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90",
  tenantID: "acme",
  email: "ada@example.com",
  enabled: true,
  defaultGroups: ["a", "b", "c"],
  managedBefore: { groups: [], realmRoles: [], attributes: [] },
};

async function act(): Promise<unknown> {
  if (what === "users") return realm().drifted([ada], signal);
  if (what === "roles")
    return realm().ensureUser({ ...ada, realmRoles: ["r"] }, undefined, { policy: "Never" }, signal);
  const gateway = makeNewApiGateway({
    url,
    token: secret,
    userID: "2",
    tenantID: "acme",
    masterKeys: parseMasterKeys(`1: ${"m".repeat(48)}`),
    limits: makeLimits(clock),
    clock,
    passwordReset: () => undefined,
  });
  const people = Array.from({ length: 100 }, (_person, n) => ({
    ...ada,
    userID: String(900_000_000 + n),
    tier: "default",
    quota: undefined,
  }));
  return gateway.drifted(people, () => Promise.resolve(), signal);
}

parentPort?.postMessage(
  await act().then(
    () => "done",
    (error: unknown) => String(error),
  ),
);
