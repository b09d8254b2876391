/** A platform engineer's day: a tenant is written, committed, checked, broken, fixed and ended, with the printed commands. */
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import * as z from "zod";

import { liveTenant } from "../../src/api/tenant.ts";
import { liveTenantUser } from "../../src/api/tenantUser.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { cloneRepository, type Clone } from "../../stack/git.ts";
import { applyText, kubectl } from "../../stack/kube.ts";
import { gitRepositoriesPath, makeRepository } from "../../stack/onboard.ts";
import { administrator } from "../../stack/realm.ts";
import { aged } from "../support/aged.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { FLUX_ACCOUNT, makePlatformRepository, type PlatformRepository } from "../support/platformRepository.ts";
import { revokeRealmManagement } from "../support/keycloak.ts";
import { commandsIn, openShell, type Shell } from "../support/shell.ts";
import { soon } from "../support/soon.ts";

const LONG = 900_000;
const PATIENCE_MS = 240_000;

let platform: Platform;
let shell: Shell;
let repository: PlatformRepository;
let people: Clone;
const id = `cli-${randomBytes(3).toString("hex")}`;
const namespace = `tenant-${id}`;
const kustomization = `tenants-${id}`;

beforeAll(async () => {
  platform = await openPlatform();
  shell = await openShell(platform.env);
  repository = await makePlatformRepository(platform.env, platform.kube, `platform-${id}`);
}, 300_000);

afterAll(async () => {
  const { env } = platform;
  await kubectl(env, ["-n", "flux-system", "delete", "kustomization", kustomization, "--ignore-not-found"]);
  await repository?.remove();
  await kubectl(env, ["-n", "unified-rbac-system", "delete", "secret", `${id}-keycloak`, `${id}-newapi`]).catch(
    () => "",
  );
  const keycloak = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
  await administrator(keycloak, id)
    .realms.del({ realm: id })
    .catch(() => undefined);
  shell?.remove();
  await platform?.close();
}, 300_000);

const tenant = async () => liveTenant.optional().parse(await platform.kube.get(objectPath("Tenant", { name: id })));
const user = async (name: string) =>
  liveTenantUser.optional().parse(await platform.kube.get(objectPath("TenantUser", { namespace, name })));
const check = (...args: readonly string[]) => shell.unifiedRBAC(["tenant", "check", id, ...args]);

/** Asks again until the check ends with this code; the reconciler needs seconds to look again. */
const checked = (code: number) =>
  soon(async () => {
    const ended = await check();
    assert.equal(ended.code, code, `${ended.out}${ended.err}`);
    return ended.out;
  }, PATIENCE_MS);

describe("a tenant", () => {
  it(
    "is made by init, the printed commands and a commit: Flux applies it, the Tenant is Ready, a person too",
    async () => {
      const { env, kube } = platform;
      const git = await makeRepository(env, id);
      const written = await shell.unifiedRBAC([
        "tenant",
        "init",
        id,
        `--git-url=${git.remote.url}`,
        `--keycloak-url=${env.KEYCLOAK_URL}`,
        `--newapi-url=${env.NEWAPI_URL}`,
        `--email-domain=${id}.example`,
        "--out=onboarding",
      ]);
      expect(written).toMatchObject({ code: 0, err: "" });

      // What the printed commands read: files with one value each.
      const file = (name: string, value: string): void => writeFileSync(join(shell.dir, name), value);
      file("token", env.NEWAPI_ADMIN_TOKEN);
      file("username", git.reader.username);
      file("password", git.reader.password);
      const ran = await shell.lines(["set -e", ...commandsIn(written.out)]);
      assert.equal(ran.code, 0, `${ran.out}${ran.err}`);

      const names = z
        .looseObject({ resources: z.array(z.string()) })
        .parse(parse(readFileSync(join(shell.dir, "onboarding", "kustomization.yaml"), "utf8"))).resources;
      for (const name of ["kustomization.yaml", ...names]) {
        repository.clone.write(`tenants/${id}/${name}`, readFileSync(join(shell.dir, "onboarding", name), "utf8"));
      }
      repository.clone.write("tenants/README.md", "Tenants.\n");
      await applyText(
        env,
        stringify({
          apiVersion: "kustomize.toolkit.fluxcd.io/v1",
          kind: "Kustomization",
          metadata: { name: kustomization, namespace: "flux-system" },
          spec: {
            serviceAccountName: FLUX_ACCOUNT,
            sourceRef: { kind: "GitRepository", name: repository.name },
            path: "./tenants",
            interval: "10m",
            retryInterval: "2s",
            prune: true,
            deletionPolicy: "Orphan",
          },
        }),
      );
      await repository.pushed(kustomization);
      expect(await checked(0)).toMatch(/^Tenant .*: Ready=True Ready\n/);

      people = await cloneRepository(git.remote, join(shell.dir, "people"));
      const ada = {
        apiVersion: "catalyst.openova.io/v1alpha1",
        kind: "TenantUser",
        metadata: { name: "ada" },
        spec: { email: `ada@${id}.example` },
      };
      people.write("users/ada.yaml", stringify(ada));
      const commit = await people.push("Add ada");
      await kube.patch(
        `${gitRepositoriesPath(namespace)}/users`,
        { metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": commit ?? "" } } },
        "e2e",
      );
      await soon(async () => {
        const ready = (await user("ada"))?.status?.conditions?.find(({ type }) => type === "Ready");
        assert.equal(ready?.status, "True", ready?.message);
      }, PATIENCE_MS);
    },
    LONG,
  );

  it(
    "that is broken in many ways is told each, and is fixed by what was printed",
    async () => {
      const { env } = platform;
      const keycloak = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
      const realm = administrator(keycloak, id);
      const { unmanagedAttributePolicy: _policy, ...profile } = await realm.users.getProfile();
      await realm.users.updateProfile(profile);
      const [group] = await realm.groups.find({ search: "sme-users" });
      await realm.groups.del({ id: group?.id ?? "" });
      await kubectl(env, ["-n", namespace, "delete", "rolebinding", "unified-rbac-secrets"]);
      await kubectl(env, ["-n", "unified-rbac-system", "delete", "secret", `${id}-newapi`]);
      const binding = ["-n", namespace, "create", "rolebinding", "too-much", "--clusterrole=admin"];
      await kubectl(env, [...binding, `--serviceaccount=${namespace}:flux-tenant`]);
      const path = `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${namespace}/kustomizations/users`;
      await platform.kube.patch(path, { spec: { force: true } }, "e2e");

      const told = await checked(1);
      for (const words of [
        "x AttributesDropped: The user profile of realm",
        "x MissingGroup: The default group /sme-users does not exist",
        "x NewAPICredentialsMissing: ",
        `x MissingPermission: The reconciler may not get, list, watch, create, update, delete Secrets in namespace ${namespace}.`,
        `Flux may get secrets in namespace ${namespace}: whoever commits there could copy every key`,
        "has force: true: a refused manifest would delete the person",
      ]) {
        expect(told).toContain(words);
      }
      const commands = commandsIn(told);
      expect(commands.length).toBeGreaterThan(5);
      await shell.lines(commands);
      await kubectl(env, ["-n", namespace, "delete", "rolebinding", "too-much"]);
      await checked(0);
    },
    LONG,
  );

  it(
    "whose service account lacks a role, then its Secret, is fixed by what was printed",
    async () => {
      const { env } = platform;
      const keycloak = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
      const realm = administrator(keycloak, id);
      const [client] = await realm.clients.find({ clientId: "unified-rbac" });
      const account = await realm.clients.getServiceAccountUser({ id: client?.id ?? "" });
      await revokeRealmManagement(realm, { user: account.id ?? "" }, ["view-clients", "view-realm"]);
      const lacking = await checked(1);
      expect(lacking).toContain("lacks the role view-realm");
      expect(lacking).toContain("lacks the role view-clients");
      await shell.lines(commandsIn(lacking));
      await checked(0);

      await kubectl(env, ["-n", "unified-rbac-system", "delete", "secret", `${id}-keycloak`]);
      const missing = await checked(1);
      expect(missing).toContain("x KeycloakCredentialsMissing: ");
      await shell.lines(commandsIn(missing));
      await checked(0);
    },
    LONG,
  );

  it("cannot be looked at without rights, and says so in one sentence", async () => {
    const config = z
      .looseObject({ users: z.array(z.looseObject({ user: z.looseObject({}) })) })
      .parse(parse(readFileSync(platform.env.KUBECONFIG, "utf8")));
    const nobody = {
      ...config,
      users: config.users.map((each) => ({ ...each, user: { ...each.user, as: "nobody" } })),
    };
    const file = join(shell.dir, "nobody.kubeconfig");
    writeFileSync(file, stringify(nobody));
    for (const args of [
      ["tenant", "check", id],
      ["tenant", "offboard", id, "--yes"],
    ]) {
      const { code, out, err } = await shell.unifiedRBAC(args, { KUBECONFIG: file });
      expect({ code, out }).toEqual({ code: 3, out: "" });
      expect(err).toMatch(/^The API server refused .*User "nobody" cannot get resource "tenants".*\n$/);
    }
    expect(await user("ada")).toBeDefined();
  });

  it("that does not exist is no stack trace either", async () => {
    const { code, out } = await shell.unifiedRBAC(["tenant", "check", "nobody-knows"]);
    expect(code).toBe(1);
    expect(out).toContain("There is no Tenant nobody-knows in this cluster.");
    const gone = await shell.unifiedRBAC(["tenant", "offboard", "nobody-knows", "--yes"]);
    expect(gone).toMatchObject({ code: 0, out: "There is nothing of tenant nobody-knows in this cluster.\n" });
  });

  it(
    "ends only when it has left Git, can be interrupted, and leaves nothing",
    async () => {
      const { gateway } = platform;
      const uuid = (await user("ada"))?.status?.userUUID ?? "";
      const plan = await shell.unifiedRBAC(["tenant", "offboard", id]);
      expect(plan.code).toBe(0);
      expect(plan.out).toContain(`${namespace}/ada  ada@${id}.example`);
      expect(plan.out).toContain("Nothing was done; add --yes to do it.");

      const refused = await shell.unifiedRBAC(["tenant", "offboard", id, "--yes"]);
      expect(refused.code).toBe(1);
      expect(refused.err).toContain(`is still in Git: Kustomization flux-system/${kustomization}`);

      for (const file of await repository.clone.files(`tenants/${id}`)) repository.clone.remove(file);
      await repository.pushed(kustomization);
      expect(await tenant()).toBeDefined();
      expect((await user("ada"))?.metadata.deletionTimestamp).toBeUndefined();

      const first = shell.begin(["tenant", "offboard", id, "--yes", "--skip-grace"]);
      await soon(async () => assert.equal((await tenant())?.spec.deletionGrace, "0s"), PATIENCE_MS);
      first.child.kill("SIGINT");
      expect((await first.ended).code).toBe(130);

      const second = await shell.unifiedRBAC(["tenant", "offboard", id, "--yes", "--skip-grace"]);
      assert.equal(second.code, 0, `${second.out}${second.err}`);
      expect(second.out).toContain(`Tenant ${id} is gone.`);
      expect(await tenant()).toBeUndefined();
      expect(await platform.kube.get(`/api/v1/namespaces/${namespace}`)).toBeUndefined();
      const accounts = (await gateway.users()).filter(({ external_id }) => external_id === uuid);
      expect(accounts.map(({ disabled }) => disabled)).toEqual([true]);
      const { rows } = await platform.db.query<{ state: string }>(
        "select state from user_provision_state where sme_user_uuid = $1",
        [uuid],
      );
      expect(rows).toEqual([{ state: "deleted" }]);
      const { env } = platform;
      const keycloak = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
      expect(await administrator(keycloak, id).users.find({ q: `sme_user_uuid:${uuid}` })).toEqual([]);
    },
    LONG,
  );
});

it(
  "a tenant with a grace says when it can end, and ends then",
  async () => {
    const waiting = await platform.tenant("grace", { values: { DELETION_GRACE: "1h" } });
    await waiting.apply("ada");
    const { uuid } = await waiting.person("ada");
    const first = await shell.unifiedRBAC(["tenant", "offboard", waiting.id, "--yes"]);
    expect(first.code).toBe(1);
    expect(first.err).toContain("until the end of their grace (1h)");
    expect(await waiting.user("ada")).toBeUndefined();
    expect((await waiting.accounts(uuid)).map(({ disabled }) => disabled)).toEqual([true]);
    await aged(platform, { uuid }, "purgeAt", 60);
    await soon(async () => {
      const again = await shell.unifiedRBAC(["tenant", "offboard", waiting.id, "--yes"]);
      assert.equal(again.code, 0, `${again.out}${again.err}`);
    }, 2 * PATIENCE_MS);
    expect((await waiting.row(uuid))?.state).toBe("deleted");
    expect(await waiting.keycloakUsers(uuid)).toEqual([]);
  },
  LONG,
);

it(
  "somebody who asks to be kept, and may not be, is locked for thirty days, and that is what is said",
  async () => {
    const strict = await platform.tenant("withheld");
    await strict.apply("ada");
    const person = await strict.person("ada");
    await strict.apply("ada", { deletionPolicy: "Retain" });
    await strict.says("ada", "Stalled", "True", "NotAllowed");
    const plan = await shell.unifiedRBAC(["tenant", "offboard", strict.id]);
    expect(plan.out).toContain("those accounts are locked for 30d, then undone");
    const first = await shell.unifiedRBAC(["tenant", "offboard", strict.id, "--yes", "--skip-grace"]);
    expect(first.code).toBe(1);
    expect(first.err).toContain("are locked for 30d, in which a commit brings them back");
    expect(await platform.opens(person.apiKey)).toBe(403);
    await aged(platform, person, "purgeAt", 30 * 24 * 60);
    await soon(async () => assert.equal((await strict.row(person.uuid))?.state, "deleted"));
  },
  LONG,
);
