/** From a commit to a working account and back, on real parts. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { FINALIZER, LABEL_TENANT } from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { kubectl } from "../../stack/kube.ts";
import { kustomizationsPath } from "../../stack/onboard.ts";

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

  it("is shown by kubectl get tenantusers with email, state, readiness and reason", async () => {
    await tenant.apply("grace");
    const { uuid, keycloakID, accountID, secretName } = await tenant.person("grace");
    const table = async (...options: string[]): Promise<Record<string, string>> => {
      const text = await kubectl(platform.env, ["get", "tenantusers", "-n", tenant.namespace, "grace", ...options]);
      const [head = "", row = ""] = text.split("\n");
      // Columns stand under their titles; a cell may hold spaces.
      const titles = [...head.matchAll(/\S+ */g)];
      return Object.fromEntries(
        titles.map(({ 0: title, index }) => [title.trim(), row.slice(index, index + title.length).trim()]),
      );
    };
    expect(await table()).toEqual({
      NAME: "grace",
      EMAIL: tenant.email("grace"),
      STATE: "done",
      READY: "True",
      REASON: "Ready",
      AGE: expect.stringMatching(/^\d+[sm]/),
    });
    expect(await table("-o", "wide")).toMatchObject({
      UUID: uuid,
      KEYCLOAK: keycloakID,
      NEWAPI: accountID,
      SECRET: secretName,
      RETRIES: "0",
    });
  });

  it("has its history in kubectl describe: an Event for each change of its readiness", async () => {
    await tenant.apply("edsger", { groups: ["/not-ours"] });
    await tenant.says("edsger", "Stalled", "True", "NotAllowed");
    await tenant.apply("edsger");
    const { secretName } = await tenant.person("edsger");
    const described = await soon(async () => {
      const text = await kubectl(platform.env, ["describe", "tenantuser", "-n", tenant.namespace, "edsger"]);
      const [, events = ""] = text.split(/^Events:/m);
      assert.match(events, /Normal +Ready/);
      return events;
    });
    expect(described).toMatch(/Warning +NotAllowed .* Group "\/not-ours" is not allowed for this tenant/);
    expect(described).toMatch(
      new RegExp(
        `Normal +Ready .* catalyst.openova.io/unified-rbac +The key in Secret ${secretName} opens the gateway\\.`,
      ),
    );
  });

  it("that is edited is changed in Keycloak: display name, groups, enabled", async () => {
    await tenant.commit({ "users/barbara.yaml": tenant.manifest("barbara") });
    const { uuid, apiKey } = await tenant.person("barbara");
    const inKeycloak = async () => (await tenant.keycloakUsers(uuid))[0];
    expect(await inKeycloak()).toMatchObject({ enabled: true, groups: ["/sme-users"] });

    const edited = { displayName: "Barbara Liskov", groups: ["/team"], enabled: false };
    await tenant.applied(await tenant.commit({ "users/barbara.yaml": tenant.manifest("barbara", edited) }));
    expect(await inKeycloak()).toMatchObject({
      enabled: false,
      groups: ["/sme-users", "/team"],
      attributes: { displayName: ["Barbara Liskov"] },
    });
    await tenant.says("barbara", "Ready", "True", "Disabled");
    expect(await opens(apiKey)).toBe(403);

    await tenant.apply("barbara", { displayName: "Barbara", groups: [], enabled: true });
    expect((await tenant.person("barbara")).apiKey).toBe(apiKey);
    expect(await inKeycloak()).toMatchObject({
      enabled: true,
      groups: ["/sme-users"],
      attributes: { displayName: ["Barbara"] },
    });
    expect(await opens(apiKey)).toBe(200);
  });

  it("whose file is removed leaves nothing behind: Secret, gateway, Keycloak, row and event", async () => {
    await tenant.commit({ "users/donald.yaml": tenant.manifest("donald") });
    const { uuid, secretName, apiKey } = await tenant.person("donald");
    expect(await opens(apiKey)).toBe(200);

    await tenant.commit({ "users/donald.yaml": undefined });
    await tenant.gone("donald");
    expect(await tenant.secret(secretName)).toBeUndefined();
    expect(await tenant.accounts(uuid)).toMatchObject([{ disabled: true }]);
    expect(await opens(apiKey)).toBe(403);
    expect(await tenant.keycloakUsers(uuid)).toEqual([]);
    await soon(async () => assert.equal((await tenant.row(uuid))?.state, "deleted"));
    const events = await soon(async () => {
      const all = await platform.events(uuid);
      assert.equal(all.length, 2);
      return all;
    });
    expect(events).toMatchObject([
      { type: "sme.user.created", tenant_id: tenant.id, data: { email: tenant.email("donald") } },
      { type: "sme.user.deleted", tenant_id: tenant.id, metadata: {} },
    ]);
  });
});

describe("a dry-run on the server", () => {
  it("writes nothing anywhere, and completes the object as a real one would be", async () => {
    await tenant.apply("linus");
    const linus = await tenant.person("linus");
    const newUser = candidateUUID(tenant.id, tenant.email("ghost"));
    const everything = async () => {
      const rows = (sql: string) => platform.db.query<object>(sql, [linus.uuid, newUser]).then((found) => found.rows);
      return {
        users: await rows("select * from user_provision_state where sme_user_uuid in ($1, $2)"),
        audit: await rows("select * from audit where sme_user_uuid in ($1, $2)"),
        outbox: await rows("select * from outbox where payload->'data'->>'sme_user_uuid' in ($1::text, $2::text)"),
        waiting: await platform.db
          .query<object>("select * from waiting where email = $1", [tenant.email("ghost")])
          .then((found) => found.rows),
        keycloak: [...(await tenant.keycloakUsers(linus.uuid)), ...(await tenant.keycloakUsers(newUser))],
        gateway: (await platform.gateway.journal()).filter(
          ({ externalID }) => externalID === linus.uuid || externalID === newUser,
        ),
        secrets: await tenant.secret(linus.secretName),
        events: [...(await platform.events(linus.uuid)), ...(await platform.events(newUser))],
        objects: [await tenant.user("linus"), await tenant.user("ghost")],
      };
    };
    await soon(async () => assert.equal((await platform.events(linus.uuid)).length, 1));
    const before = await everything();

    const created = await tenant.apply("ghost", {}, { dryRun: true });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      metadata: { finalizers: [FINALIZER], labels: { [LABEL_TENANT]: tenant.id } },
      spec: { email: tenant.email("ghost"), enabled: true },
    });
    const changed = await tenant.apply("linus", { displayName: "Linus", enabled: false }, { dryRun: true });
    expect(changed.status).toBe(200);
    const path = objectPath("TenantUser", { namespace: tenant.namespace, name: "linus" });
    expect((await platform.api.send("DELETE", `${path}?dryRun=All`)).status).toBe(200);

    // By the time that somebody who came later is Ready, whatever the dry-runs had begun would show.
    await tenant.apply("later");
    await tenant.ready("later");
    expect(await everything()).toEqual(before);
  });
});
