/** What one tenant tries with what is another's, or the platform's: each gets a refusal, and nothing moves. */
import { randomUUID } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";

import { API_VERSION, FINALIZER, LABEL_TENANT } from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let owner: TestTenant;
/** In the same realm as the owner. */
let trespasser: TestTenant;
let victim: Person;
/** All that is the victim's, as it stands at the upstreams and in the records. */
let before: object;

beforeAll(async () => {
  platform = await openPlatform();
  owner = await platform.tenant("owner", { ownDomain: true });
  trespasser = await platform.tenant("trespasser", {
    ownDomain: true,
    realm: { realm: owner.realm.realm },
    values: { KEYCLOAK_REALM: owner.realm.realm },
  });
  await owner.apply("victim");
  victim = await owner.person("victim");
  before = await owner.everything(victim);
});
afterAll(() => platform?.close());

const untouched = async (): Promise<void> => {
  expect(await owner.everything(victim)).toEqual(before);
  expect(await owner.person("victim")).toEqual(victim);
};

describe("somebody else's uuid", () => {
  it("is refused, another tenant's as well as an invented one, and nothing of theirs moves", async () => {
    for (const [name, pin] of [
      ["thief", victim.uuid],
      ["inventor", candidateUUID("nobody", "nobody@example.com")],
    ] as const) {
      expect((await trespasser.apply(name, { userUUID: pin })).status).toBe(201);
      const { message } = await trespasser.says(name, "Stalled", "True", "UUIDNotYours");
      expect(message).toBe(
        `spec.userUUID ${pin} is not free for this person; remove it, or pin a uuid that this tenant owns and nobody uses, or a fresh version-4 one.`,
      );
    }
    await untouched();
  });

  it("is not what a fresh version-4 one is: that is taken", async () => {
    const pin = randomUUID();
    await owner.apply("pinned", { userUUID: pin });
    expect((await owner.person("pinned")).uuid).toBe(pin);
  });
});

describe("another tenant's people in a shared realm", () => {
  it("are not taken over by committing their email", async () => {
    await trespasser.apply("impostor", { email: owner.email("victim") });
    const { message } = await trespasser.says("impostor", "Stalled", "True", "NotAllowed");
    expect(message).toContain(`${owner.id}.example`);
    await untouched();
    await trespasser.remove("impostor");
    await trespasser.gone("impostor");
    await untouched();
  });
});

describe("what belongs to the platform", () => {
  it("is not for a manifest: another tenant's label is denied, with a sentence", async () => {
    const metadata = { labels: { [LABEL_TENANT]: owner.id } };
    const { status, body } = await trespasser.apply("labelled", {}, { metadata });
    expect(status).toBe(403);
    expect(body["message"]).toBe(
      `admission webhook "validate.tenantusers.catalyst.openova.io" denied the request: metadata.labels[${LABEL_TENANT}]: ` +
        `must be ${trespasser.id}, the tenant of this namespace; leave the label out, it is set by the service`,
    );
  });

  it("is out of reach of the tenant's own Flux: status, Secrets, other namespaces, the Tenant", async () => {
    await trespasser.apply("own");
    const { secretName } = await trespasser.person("own");
    const own = objectPath("TenantUser", { namespace: trespasser.namespace, name: "own" });
    const theirs = objectPath("TenantUser", { namespace: owner.namespace, name: "victim" });
    const merge = "application/merge-patch+json";
    for (const [method, path, body] of [
      ["PATCH", `${own}/status`, { status: { state: "deleted" } }],
      ["GET", `/api/v1/namespaces/${trespasser.namespace}/secrets/${secretName}`],
      ["GET", theirs],
      ["PATCH", theirs, { spec: { enabled: false } }],
      ["PATCH", objectPath("Tenant", { name: trespasser.id }), { spec: { suspend: true } }],
    ] as const) {
      expect((await platform.api.send(method, path, body, merge, trespasser.flux)).status).toBe(403);
    }
    await untouched();
  });
});

describe("a repository whose owner tries everything", () => {
  const manifest = (kind: string, apiVersion: string, name: string, more: object = {}): string =>
    stringify({ apiVersion, kind, metadata: { name }, ...more });
  const RBAC = "rbac.authorization.k8s.io/v1";
  const everything = { apiGroups: ["*"], resources: ["*"], verbs: ["*"] };

  /** What its owner reads on the Kustomization when this cannot be applied. */
  async function refusedByRBAC(text: string): Promise<string> {
    const commit = await trespasser.commit({ "users/trespass.yaml": text });
    return soon(async () => {
      const { ready, lastAttemptedRevision } = await trespasser.kustomization();
      assert(lastAttemptedRevision.endsWith(commit) && ready?.status === "False" && ready.reason !== "Progressing");
      return ready.message;
    });
  }

  it("is told by Flux, who is the tenant's own ServiceAccount, that it may handle people and nothing else", async () => {
    const flux = trespasser.flux;
    const secret = { stringData: { "api-key": "mine" } };
    const tenant = { spec: (await trespasser.tenant()).spec };
    const binding = {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "flux-tenant", namespace: trespasser.namespace }],
    };
    const sync = {
      interval: "1m",
      path: "./users",
      prune: true,
      serviceAccountName: "default",
      sourceRef: { kind: "GitRepository", name: "users" },
    };
    for (const [what, text] of [
      ["tenants", manifest("Tenant", API_VERSION, trespasser.id, tenant)],
      ["secrets", manifest("Secret", "v1", victim.secretName, secret)],
      ["clusterroles", manifest("ClusterRole", RBAC, "trespass", { rules: [everything] })],
      ["clusterrolebindings", manifest("ClusterRoleBinding", RBAC, "trespass", binding)],
      ["roles", manifest("Role", RBAC, "flux-tenant", { rules: [everything] })],
      ["rolebindings", manifest("RoleBinding", RBAC, "trespass", binding)],
      [
        "kustomizations",
        manifest("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "users", {
          spec: { ...sync, targetNamespace: owner.namespace },
        }),
      ],
    ] as const) {
      const message = await refusedByRBAC(text);
      expect(message).toContain("orbidden");
      expect(message).toContain(what);
      expect(message).toContain(`User "${flux}" cannot`);
    }
    await trespasser.commit({ "users/trespass.yaml": undefined });
    await untouched();
  });

  it("moves nothing of anybody else by people either: each is refused by us, and says why", async () => {
    const tries: Record<string, [spec: Record<string, unknown>, reason: string]> = {
      email: [{ email: owner.email("victim") }, "NotAllowed"],
      uuid: [{ userUUID: victim.uuid }, "UUIDNotYours"],
      group: [{ groups: ["/realm-admins"] }, "NotAllowed"],
      role: [{ realmRoles: ["foreign"] }, "NotAllowed"],
      attribute: [{ attributes: { policy: ["superuser"] } }, "NotAllowed"],
      tier: [{ newapi: { tier: "vip" } }, "NotAllowed"],
      secret: [{ secret: { name: "tenant-git" } }, "NotAllowed"],
      reflected: [
        { secret: { annotations: { "reflector.v1.k8s.emberstack.com/reflection-allowed": "true" } } },
        "NotAllowed",
      ],
    };
    const git = await trespasser.secret("tenant-git");
    const files = Object.entries(tries).map(([name, [spec]]) => [
      `users/${name}.yaml`,
      trespasser.manifest(name, spec),
    ]);
    await trespasser.commit(Object.fromEntries(files) as Record<string, string>);
    for (const [name, [, reason]] of Object.entries(tries)) await trespasser.says(name, "Stalled", "True", reason);
    await untouched();
    expect(await trespasser.secret("tenant-git")).toEqual(git);
    await trespasser.commit(Object.fromEntries(Object.keys(tries).map((name) => [`users/${name}.yaml`, undefined])));
    for (const name of Object.keys(tries)) await trespasser.gone(name);
    await untouched();
  });

  it("reaches no other namespace by naming it: what it commits is its own", async () => {
    const text = stringify({
      apiVersion: API_VERSION,
      kind: "TenantUser",
      metadata: { name: "victim", namespace: owner.namespace },
      spec: { email: trespasser.email("elsewhere"), enabled: false },
    });
    await trespasser.applied(await trespasser.commit({ "users/victim.yaml": text }));
    expect((await trespasser.user("victim"))?.metadata.namespace).toBe(trespasser.namespace);
    await untouched();
    await trespasser.commit({ "users/victim.yaml": undefined });
    await trespasser.gone("victim");
    await untouched();
  });

  it("cannot say of its people what they are: a status in Git is nothing, and names nobody's accounts", async () => {
    const text = stringify({
      apiVersion: API_VERSION,
      kind: "TenantUser",
      metadata: { name: "liar" },
      spec: { email: trespasser.email("liar") },
      status: {
        observedGeneration: 99,
        state: "done",
        userUUID: victim.uuid,
        secretName: victim.secretName,
        keycloak: { userID: victim.keycloakID },
        newapi: { userID: victim.accountID },
      },
    });
    await trespasser.applied(await trespasser.commit({ "users/liar.yaml": text }));
    const liar = await trespasser.person("liar");
    expect(liar.uuid).toBe(candidateUUID(trespasser.id, trespasser.email("liar")));
    await untouched();
    await trespasser.commit({ "users/liar.yaml": undefined });
    await trespasser.gone("liar");
    await untouched();
  });

  it("cannot rid its people of our finalizer, so that their accounts would stay when they go", async () => {
    const text = (finalizers: object) =>
      stringify({
        apiVersion: API_VERSION,
        kind: "TenantUser",
        metadata: { name: "slippery", ...finalizers },
        spec: { email: trespasser.email("slippery") },
      });
    // Once its own, Flux takes it away again when it is no longer in Git.
    await trespasser.applied(await trespasser.commit({ "users/slippery.yaml": text({ finalizers: [FINALIZER] }) }));
    const slippery = await trespasser.person("slippery");
    await trespasser.applied(await trespasser.commit({ "users/slippery.yaml": text({}) }));
    await soon(async () => assert.deepEqual((await trespasser.user("slippery"))?.metadata.finalizers, [FINALIZER]));
    await trespasser.commit({ "users/slippery.yaml": undefined });
    await trespasser.gone("slippery");
    await soon(async () => assert.equal((await trespasser.row(slippery.uuid))?.state, "deleted"));
    expect(await trespasser.keycloakUsers(slippery.uuid)).toEqual([]);
    expect(await platform.opens(slippery.apiKey)).not.toBe(200);
    await untouched();
  });
});
