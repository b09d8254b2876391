/** What a tenant does with git, and what Flux makes of it. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { kustomizationsPath } from "../../stack/onboard.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import { seenKustomization, type TestTenant } from "../support/tenant.ts";

let platform: Platform;

beforeAll(async () => {
  platform = await openPlatform();
});
afterAll(() => platform?.close());

/** Every complaint of Flux while the work continues. */
async function complaintsDuring(tenant: TestTenant, work: () => Promise<void>): Promise<readonly string[]> {
  const looking = new AbortController();
  const complaints: string[] = [];
  const follow = platform.kube.follow(
    kustomizationsPath(tenant.namespace),
    ({ object }) => {
      const { ready } = seenKustomization(object);
      if (ready?.status === "False" && ready.reason !== "Progressing") complaints.push(ready.message);
    },
    looking.signal,
  );
  try {
    await work();
  } finally {
    looking.abort();
    await follow;
  }
  return complaints;
}

// Side by side: both wait for Flux most of the time.
describe.concurrent("one commit, without a hand", () => {
  it("renames: the same person under another file and name keeps uuid, Keycloak id and key", async () => {
    const tenant = await platform.tenant("rename");
    await tenant.applied(await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") }));
    const before = await tenant.person("ada");

    const complaints = await complaintsDuring(tenant, async () => {
      const renamed = tenant.manifest("ada-lovelace", { email: tenant.email("ada") });
      await tenant.applied(await tenant.commit({ "users/ada.yaml": undefined, "users/ada-lovelace.yaml": renamed }));
    });
    expect(complaints).toEqual([]);
    await tenant.gone("ada");
    expect(await tenant.person("ada-lovelace")).toEqual(before);
    expect((await platform.events(before.uuid)).map(({ type }) => type)).not.toContain("sme.user.deleted");
  });

  it("replaces one person by another where the tenant has all the users that it may have", async () => {
    const tenant = await platform.tenant("replace", { patch: { limits: { maxUsers: 1 } } });
    await tenant.applied(await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") }));
    const before = await tenant.person("ada");

    const complaints = await complaintsDuring(tenant, async () => {
      await tenant.applied(
        await tenant.commit({ "users/ada.yaml": undefined, "users/zoe.yaml": tenant.manifest("zoe") }),
      );
    });
    expect(complaints).toEqual([]);
    await tenant.gone("ada");
    const after = await tenant.person("zoe");
    expect(after.uuid).not.toBe(before.uuid);
    await soon(async () => assert.deepEqual(await tenant.keycloakUsers(before.uuid), []));
    expect(await tenant.accounts(before.uuid)).toMatchObject([{ disabled: true }]);
  });
});

describe("a tenant's repository", () => {
  let tenant: TestTenant;
  beforeAll(async () => {
    tenant = await platform.tenant("gitops");
  });

  /** Commits what cannot be applied, and gives what the tenant then reads on the Kustomization. */
  async function complaint(path: string, text: string): Promise<string> {
    const commit = await tenant.commit({ [path]: text });
    const message = await soon(async () => {
      const { ready, lastAttemptedRevision } = await tenant.kustomization();
      assert(lastAttemptedRevision.endsWith(commit) && ready?.status === "False" && ready.reason !== "Progressing");
      return ready.message;
    });
    await tenant.applied(await tenant.commit({ [path]: undefined }));
    return message;
  }

  it("that has not changed costs nothing: another interval moves no version and reaches no webhook", async () => {
    await tenant.applied(await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") }));
    const { metadata } = await tenant.ready("ada");
    const admissions = await platform.admissions();
    expect(admissions).toBeGreaterThan(0);
    await tenant.interval();
    await tenant.interval();
    const after = await tenant.user("ada");
    expect(after?.metadata).toMatchObject({
      uid: metadata.uid,
      generation: metadata.generation,
      resourceVersion: metadata.resourceVersion,
    });
    expect(await platform.admissions()).toBe(admissions);
  });

  it("shows why a manifest was rejected in the message of its Kustomization", async () => {
    expect(await complaint("users/bad.yaml", tenant.manifest("bad", { email: "not an address" }))).toBe(
      `TenantUser/${tenant.namespace}/bad dry-run failed (Invalid): TenantUser.catalyst.openova.io "bad" is invalid: ` +
        `spec.email: Invalid value: "not an address": must be one email address such as ada@example.com, ` +
        `in plain ASCII; write an international domain in its xn-- form\n`,
    );
  });

  it("shows a field that does not exist in the message of its Kustomization", async () => {
    const text = tenant.manifest("bad").replace("spec:", "spec:\n  emial: x@example.com");
    expect(await complaint("users/bad.yaml", text)).toMatch(
      /^TenantUser\/\S+\/bad dry-run failed: .*: \.spec\.emial: field not declared in schema$/m,
    );
  });

  it("shows which file is not YAML, and where, in the message of its Kustomization", async () => {
    expect(await complaint("users/bad.yaml", "kind: TenantUser\n  spec: {")).toMatch(
      /users\/bad\.yaml: MalformedYAMLError: yaml: line 2: mapping values are not allowed in this context$/,
    );
  });

  it("shows who was refused in the message of its Kustomization, at once, and why on the object", async () => {
    const refused = complaint("users/bad.yaml", tenant.manifest("bad", { groups: ["/admins"] }));
    const { message } = await tenant.says("bad", "Stalled", "True", "NotAllowed");
    expect(message).toBe(
      'Group "/admins" is not allowed for this tenant; remove it, or ask the platform to add it to allow.groups of the Tenant.',
    );
    expect(await refused).toMatch(/failed early due to stalled resources: \[TenantUser\/\S+\/bad status: 'Failed'\]$/);
  });
});
