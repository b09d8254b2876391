/** What one tenant tries with what is another's, or the platform's: each gets a refusal, and nothing moves. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { LABEL_TENANT } from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let owner: TestTenant;
/** In the same realm as the owner. */
let trespasser: TestTenant;
let victim: Person;

beforeAll(async () => {
  platform = await openPlatform();
  owner = await platform.tenant("owner");
  trespasser = await platform.tenant("trespasser", {
    realm: { realm: owner.realm.realm },
    values: { KEYCLOAK_REALM: owner.realm.realm },
  });
  await owner.apply("victim");
  victim = await owner.person("victim");
});
afterAll(() => platform?.close());

const untouched = async (): Promise<void> => expect(await owner.person("victim")).toEqual(victim);

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
    const { message } = await trespasser.says("impostor", "Stalled", "True", "UserClaimed");
    expect(message).toContain(owner.email("victim"));
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
