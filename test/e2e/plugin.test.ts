/** `kubectl tenantuser` as it is typed: by somebody on call, by somebody of the tenant, by somebody without any right. */
import { randomBytes } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, type ObjectMeta } from "../../src/api/meta.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { EXIT } from "../../src/plugin/exit.ts";
import { kubectl } from "../../stack/kube.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";
import { openTerminal, type Terminal } from "../support/terminal.ts";
import {
  masked,
  maskedParagraph,
  sectionInPage,
  sectionOf,
  type Transcript,
  writeSection,
} from "../support/transcripts.ts";

let platform: Platform;
let tenant: TestTenant;
let onCall: Terminal;
/** Looks after objects, and may not forward to the operator's port. */
let keeper: Terminal;
let nobody: Terminal;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("oncall", { patch: { adoption: "Unclaimed" } });
  const { env, product } = platform;
  const run = randomBytes(3).toString("hex");
  const open = (name: string, people: boolean, books: boolean) =>
    openTerminal(env, `${name}-${run}`, { people, books }, product.operatorURL);
  [onCall, keeper, nobody] = await Promise.all([
    open("plugin-oncall", true, true),
    open("plugin-keeper", true, false),
    open("plugin-nobody", false, false),
  ]);
  await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") });
  await tenant.ready("ada");
  await tenant.apply("grace", { email: tenant.email("ada") });
  await tenant.apply("linus", { groups: ["/kernel"] });
  await tenant.says("grace", "Ready", "False", "EmailInUse");
  await tenant.says("linus", "Stalled", "True", "NotAllowed");
});
afterAll(async () => {
  await platform?.close();
  await Promise.all([onCall, keeper, nobody].map((each) => each?.close()));
});

/** One command line after `kubectl tenantuser`, in the tenant's namespace. */
const type = (line: string, who = onCall, env: Record<string, string> = {}) =>
  who.type(`kubectl tenantuser ${line} -n ${tenant.namespace}`, env);
const well = async (line: string): Promise<string> => {
  const { exit, out, err } = await type(line);
  assert(exit === 0, `${line} ended with ${exit}: ${err}`);
  return out;
};
/** Without the ends of lines, which come where the width wants them. */
const flat = (text: string): string => text.replaceAll(/\s+/g, " ");
const metadataOf = async (name: string): Promise<ObjectMeta> => {
  const user = await tenant.user(name);
  assert(user !== undefined);
  return user.metadata;
};

describe("somebody on call", () => {
  it("sees who there is and how they are, in this namespace and in all", async () => {
    const rows = (await well("list")).split("\n").map((line) => line.split(/ {3,}/));
    expect(rows[0]).toEqual(["NAME", "EMAIL", "STATE", "STANDING", "REASON", "SINCE", "TRIES"]);
    expect(rows.slice(1, 4).map(([name, email, state, phase, reason]) => [name, email, state, phase, reason])).toEqual([
      ["ada", tenant.email("ada"), "done", "ready", "Ready"],
      ["grace", tenant.email("ada"), "waiting", "underway", "EmailInUse"],
      ["linus", tenant.email("linus"), "failed", "stalled", "NotAllowed"],
    ]);
    const everywhere = await onCall.type("kubectl tenantuser list -A --not-ready -o json");
    const found = JSON.parse(everywhere.out) as { namespace: string; name: string }[];
    expect(found.filter(({ namespace }) => namespace === tenant.namespace).map(({ name }) => name)).toEqual([
      "grace",
      "linus",
    ]);
  });

  it("sees a journey and a reason: the transcripts in the docs are what is printed", async () => {
    const transcripts: Transcript[] = [];
    for (const [name, title] of [
      ["ada", "Somebody who is well:"],
      ["grace", "Somebody who waits:"],
      ["linus", "Somebody who is stalled:"],
    ] as const) {
      for (const command of ["status", "why"] as const) {
        const text = await well(`${command} ${name}`);
        const out = command === "why" ? maskedParagraph(text, tenant.id) : masked(text, tenant.id);
        const line = `kubectl tenantuser ${command} ${name} -n tenant-acme`;
        transcripts.push({ title: command === "status" ? title : "Why:", line, out });
      }
    }
    const section = sectionOf(transcripts);
    if (process.env["TRANSCRIPTS"] === "write") writeSection(section);
    expect(section).toBe(sectionInPage());
  });

  it("gets the journey's parts from the books: what was written for whom", async () => {
    const { keycloakID, accountID, secretName } = await tenant.person("ada");
    const text = await well("audit ada");
    for (const id of [keycloakID, accountID, `${tenant.namespace}/${secretName}`]) expect(text).toContain(id);
    const status = JSON.parse(await well("status ada -o json")) as { journey: { what: string; text: string }[] };
    expect(status.journey.map(({ what, text: said }) => `${what}: ${said}`)).toEqual(
      expect.arrayContaining([`keycloak: created ${keycloakID}`, expect.stringMatching(/^Ready: /)]),
    );
  });

  it("waits for somebody, and is told at once when waiting is of no use", async () => {
    expect(await well("wait ada")).toBe("ada is Ready: Ready\n");
    expect(await type("wait linus --timeout 10m")).toMatchObject({
      exit: EXIT.notYet,
      err: /stalled, NotAllowed: Group "\/kernel"/,
    });
    expect(await type("wait grace --timeout 1s")).toMatchObject({ exit: EXIT.notYet, err: /EmailInUse/ });
    expect(await well("wait nobody --for gone")).toBe("nobody is gone\n");
  });

  it("rotates a key, and Flux leaves the request alone", async () => {
    const before = await tenant.person("ada");
    expect(await well("rotate ada --wait")).toBe("ada gets a new key\n");
    const after = await tenant.person("ada");
    expect(after).toEqual({ ...before, apiKey: expect.any(String) });
    expect(after.apiKey).not.toBe(before.apiKey);
    await tenant.interval();
    const { annotations, managedFields } = await metadataOf("ada");
    expect(annotations?.[ANNOTATION_ROTATE_REQUESTED_AT]).toBeDefined();
    expect((managedFields as { manager: string }[]).map(({ manager }) => manager)).toContain("tenantuser-cli");
  });

  it("asks for another attempt without taking back what was asked before", async () => {
    const rotated = (await metadataOf("ada")).annotations?.[ANNOTATION_ROTATE_REQUESTED_AT];
    const before = await tenant.person("ada");
    await well("retry ada --wait");
    const { annotations } = await metadataOf("ada");
    expect(annotations?.[ANNOTATION_REQUESTED_AT]).toBeDefined();
    expect(annotations?.[ANNOTATION_ROTATE_REQUESTED_AT]).toBe(rotated);
    expect(await tenant.person("ada")).toEqual(before);
    // Who is stalled for a good reason is stalled again.
    expect((await type("retry linus --wait")).exit).toBe(EXIT.notYet);
  });

  it("suspends and resumes, and Git is free to say what it wants afterwards", async () => {
    await well("suspend ada");
    await tenant.says("ada", "Suspended", "True", "Suspended");
    expect(flat(await well("why ada"))).toMatch(/is suspended since.*kubectl tenantuser resume ada/);
    expect(await well("suspend ada")).toBe("ada is suspended already\n");
    await well("resume ada");
    expect((await tenant.user("ada"))?.spec.suspend).toBe(false);
    await soon(async () => {
      const conditions = (await tenant.user("ada"))?.status?.conditions ?? [];
      assert(conditions.every(({ type: kind }) => kind !== "Suspended"));
    });
    const { managedFields } = await metadataOf("ada");
    const mine = (managedFields as { manager: string; fieldsV1: unknown }[]).find(
      ({ manager }) => manager === "tenantuser-cli",
    );
    expect(JSON.stringify(mine?.fieldsV1)).not.toContain("f:suspend");
  });

  it("changes nothing where Git owns the field, and gets the lines to commit", async () => {
    const annotations = { [ANNOTATION_REQUESTED_AT]: "monday", [ANNOTATION_ROTATE_REQUESTED_AT]: "monday" };
    const object = parse(tenant.manifest("barbara", { suspend: false })) as { metadata: object };
    const text = stringify({ ...object, metadata: { ...object.metadata, annotations } });
    await tenant.applied(await tenant.commit({ "users/barbara.yaml": text }));
    const before = await tenant.user("barbara");
    for (const [command, lines] of [
      ["suspend", /^spec:\n {2}suspend: true\n$/],
      ["retry", /^metadata:\n {2}annotations:\n {4}catalyst\.openova\.io\/requestedAt: "20/],
      ["rotate", /^metadata:\n {2}annotations:\n {4}catalyst\.openova\.io\/rotateRequestedAt: "20/],
    ] as const) {
      const { exit, out, err } = await type(`${command} barbara`);
      expect([exit, out]).toEqual([EXIT.gitOwns, expect.stringMatching(lines)]);
      expect(err).toMatch(
        /is set by kustomize-controller, so from Git: nothing was changed\. Commit this to the file:/,
      );
    }
    expect(await tenant.user("barbara")).toEqual(before);
    // What was printed is what works.
    await tenant.commit({ "users/barbara.yaml": text.replace("suspend: false", "suspend: true") });
    await tenant.says("barbara", "Suspended", "True", "Suspended");
  });

  it("gets people who were in the realm before us as manifests that adopt them", async () => {
    const user = (name: string, emailVerified: boolean) => ({
      username: tenant.email(name),
      email: tenant.email(name),
      emailVerified,
      enabled: true,
      firstName: name,
    });
    const { id } = await tenant.realm.admin.users.create(user("margaret", true));
    await tenant.realm.admin.users.create(user("mallory", false));
    const { exit, out, err } = await onCall.type(`kubectl tenantuser export --tenant ${tenant.id}`);
    expect({ exit, err }).toEqual({ exit: 0, err: "1 can be adopted, 1 are left out.\n" });
    expect(out).toContain(`# Left out: ${tenant.email("mallory")}: its email is not verified.\n`);
    await tenant.commit({ "users/margaret.yaml": out });
    expect((await tenant.person("margaret")).keycloakID).toBe(id);
    expect((await onCall.type(`kubectl tenantuser export --tenant ${tenant.id}`)).err).toMatch(/^0 can be adopted, 1/);
  });
});

describe("somebody who has no object any more", () => {
  it("is an orphan until a person purges: asked twice, written down, undone", async () => {
    await tenant.apply("ken");
    const { uuid, secretName } = await tenant.person("ken");
    // Nobody sees it go: without the reconciler, and without the finalizer.
    await platform.product.kill("reconciler", "SIGTERM");
    const path = objectPath("TenantUser", { namespace: tenant.namespace, name: "ken" });
    await platform.api.send("PATCH", path, { metadata: { finalizers: null } }, "application/merge-patch+json");
    await platform.api.send("DELETE", path);
    await platform.product.start("reconciler");
    const row = await soon(async () => {
      const { sagas } = JSON.parse(await well("orphans -o json")) as { sagas: { uuid: string; ownerless: string }[] };
      const found = sagas.find((saga) => saga.uuid === uuid);
      assert(found !== undefined);
      return found;
    });
    expect(row).toMatchObject({ ownerless: "orphaned", thisCluster: true, email: tenant.email("ken") });
    expect(await tenant.keycloakUsers(uuid)).toHaveLength(1);
    expect(flat(await well("why ken"))).toMatch(
      /has no TenantUser any more.*The platform must act.*kubectl tenantuser purge ken/,
    );

    const order = `purge ken --yes --reason "left the company" --confirm`;
    expect((await type("purge ken")).exit).toBe(EXIT.usage);
    expect((await type(`${order} ada@acme.example`)).exit).toBe(EXIT.usage);
    expect(await tenant.keycloakUsers(uuid)).toHaveLength(1);
    expect(await well(`${order} ${tenant.email("ken")}`)).toContain("is being purged: secret, newapi, keycloak");
    await soon(async () => assert.equal((await tenant.row(uuid))?.state, "deleted"));
    expect(await tenant.keycloakUsers(uuid)).toEqual([]);
    expect(await tenant.accounts(uuid)).toMatchObject([{ disabled: true }]);
    expect(await tenant.secret(secretName)).toBeUndefined();
    expect(await well("audit ken")).toMatch(new RegExp(`operator +purge .*by=${onCall.user}.*reason=left the company`));
    await soon(async () =>
      assert.deepEqual(
        (await platform.events(uuid)).map(({ type: kind }) => kind),
        ["sme.user.created", "sme.user.deleted"],
      ),
    );
  });

  it("is a pending cleanup while an upstream does not let us remove the accounts, until it is done or waived", async () => {
    await tenant.apply("edsger");
    const { uuid } = await tenant.person("edsger");
    const fault = await platform.gateway.fault({ match: { path: "/disable$" }, action: { status: 503 } });
    try {
      await tenant.remove("edsger");
      await soon(async () => assert.equal((await tenant.row(uuid))?.state, "deleting"));
      // Ten minutes later, without waiting for them.
      await soon(async () => {
        await platform.db.query(
          `update user_provision_state set deleting = jsonb_set(deleting, '{since}', to_jsonb($2::text)), touches = touches + 1,
             due_at = now(), backoff_until = null, version = version + 1, lease_owner = null, lease_until = null
           where sme_user_uuid = $1 and deleting->>'released' = 'false'`,
          [uuid, new Date(Date.now() - 11 * 60_000).toISOString()],
        );
        assert.equal(await tenant.user("edsger"), undefined);
      });
      const cleanups = await soon(async () => {
        const text = (await onCall.type(`kubectl tenantuser cleanups --tenant ${tenant.id}`)).out;
        assert.match(text, /edsger/);
        return text;
      });
      expect(cleanups).toMatch(/newapi,keycloak/);
      expect(flat(await well("why edsger"))).toContain("Pending cleanup: newapi, keycloak.");
      const waived = await well(
        `cleanups waive edsger --yes --confirm ${tenant.email("edsger")} --reason "that gateway was switched off"`,
      );
      expect(waived).toContain("is waived; the service never removes: newapi, keycloak");
    } finally {
      await platform.gateway.heal(fault);
    }
    expect((await tenant.row(uuid))?.state).toBe("deleted");
    expect(await tenant.accounts(uuid)).toMatchObject([{ disabled: false }]);
    const [, gone] = await soon(async () => {
      const events = await platform.events(uuid);
      assert.equal(events.length, 2);
      return events;
    });
    expect(gone).toMatchObject({ type: "sme.user.deleted", metadata: { waived: "newapi,keycloak" } });
    await tenant.realm.admin.users.del({ id: (await tenant.keycloakUsers(uuid))[0]?.id ?? "" });
  });
});

describe("somebody who looks after objects", () => {
  it("sees what stands on them, may ask for an attempt, and is told what the books would need", async () => {
    const without = { UNIFIED_RBAC_OPS_URL: "" };
    const status = await type("status ada", keeper, without);
    expect(status.exit).toBe(0);
    expect(flat(status.out)).toContain(
      `Only what stands on the object is shown. You (${keeper.user}) may not list pods`,
    );
    expect(flat((await type("why linus", keeper, without)).out)).toContain("The tenant must act.");
    expect((await type("retry linus", keeper, without)).exit).toBe(0);
    for (const command of ["cleanups", "orphans", "audit ada"]) {
      const { exit, out, err } = await type(command, keeper, without);
      expect([exit, out]).toEqual([EXIT.forbidden, ""]);
      expect(err).toMatch(/may not list pods in namespace unified-rbac-system: ask the platform for the rights of/);
    }
  });

  it("has not the right to the way there, which those on call have", async () => {
    const may = (who: Terminal) =>
      kubectl(platform.env, [
        "auth",
        "can-i",
        "create",
        "pods",
        "--subresource=portforward",
        "-n",
        "unified-rbac-system",
        "--as",
        who.user,
      ]).then(
        (said) => said.trim(),
        () => "no",
      );
    expect(await Promise.all([may(onCall), may(keeper), may(nobody)])).toEqual(["yes", "no", "no"]);
    // On the local stack no Pod runs, and that is said too.
    expect((await type("cleanups", onCall, { UNIFIED_RBAC_OPS_URL: "" })).err).toMatch(
      /^No reconciler runs in namespace/,
    );
  });
});

describe("somebody without any right", () => {
  it.each(["list", "status ada", "why ada", "wait ada", "retry ada", "rotate ada", "suspend ada", "resume ada"])(
    "gets one sentence for %s",
    async (command) => {
      const { exit, out, err } = await type(command, nobody, { UNIFIED_RBAC_OPS_URL: "" });
      expect([exit, out]).toEqual([EXIT.forbidden, ""]);
      expect(err).toMatch(
        /^You \(system:serviceaccount:plugin-nobody-\S+\) may not (get|list) tenantusers in namespace \S+: ask the platform .*\.\n$/,
      );
    },
  );

  it("gets one sentence from a cluster that is not there, and for nobody of that name", async () => {
    expect(await type("why alan", keeper, { UNIFIED_RBAC_OPS_URL: "" })).toMatchObject({
      exit: EXIT.notFound,
      out: "",
    });
    const config = JSON.stringify({
      clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:1" } }],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "gone", context: { cluster: "c", user: "u" } }],
      "current-context": "gone",
    });
    const { exit, err } = await nobody.type(`echo '${config}' > gone && kubectl tenantuser list --kubeconfig gone`);
    expect(exit).toBe(EXIT.failed);
    expect(err).toMatch(/^The cluster of context gone does not answer \(.*\n$/);
  });
});

it("completes names from the cluster", async () => {
  expect((await onCall.type(`kubectl-tenantuser __complete why -n ${tenant.namespace} ad`)).out).toBe("ada\n:4\n");
  // As kubectl itself asks for it.
  const script =
    "kubectl tenantuser completion kubectl > bin/kubectl_complete-tenantuser && chmod +x bin/kubectl_complete-tenantuser";
  const { out } = await onCall.type(`${script} && kubectl __complete tenantuser why -n ${tenant.namespace} ad`);
  expect(out).toContain("ada\n:4\n");
});
