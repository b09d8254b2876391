/** src/kube against a real API server. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, assert, beforeAll, describe, expect, it, vi } from "vitest";
import * as z from "zod";
import { API_VERSION, FIELD_MANAGER, FINALIZER } from "../../src/api/meta.ts";
import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import type { Tenant } from "../../src/api/tenant.ts";
import { fromKubeconfig } from "../../src/kube/access.ts";
import { makeCluster } from "../../src/kube/client.ts";
import type { Cluster, SecretBody, WatchEvent } from "../../src/kube/cluster.ts";
import { type ApiRequest, type ApiClient, makeApiClient } from "../../src/kube/apiClient.ts";
import { SECRET_VERBS } from "../../src/api/setupCommands.ts";
import { makeOpenWatch, type Watches } from "../../src/kube/watch.ts";
import { makeWebhookConfig } from "../../src/kube/webhookConfig.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { readStackEnv } from "../../stack/index.ts";

const run = promisify(execFile);
const signal = new AbortController().signal;
const SOON = { timeout: 10_000, interval: 20 };
const NOBODY = "00000000-0000-4000-8000-000000000000";
/** Everything is made in a namespace, and under names, of this run's own. */
const run8 = randomUUID().slice(0, 8);
const namespace = `kube-test-${run8}`;

let connection: ApiClient;
let cluster: Cluster;
let watches: Watches;

beforeAll(async () => {
  const env = readStackEnv(process.env["STACK_NAME"] ?? "test");
  const crds = join(import.meta.dirname, "../../manifests/crd");
  await run(env.KUBECTL, ["--kubeconfig", env.KUBECONFIG, "apply", "--server-side", "--force-conflicts", "-k", crds]);
  connection = makeApiClient(await fromKubeconfig({ clock: systemClock }, env.KUBECONFIG), { clock: systemClock });
  cluster = makeCluster(connection, { log: silentLog, random: Math.random, instance: "kube-test" });
  watches = makeOpenWatch(connection, { log: silentLog, clock: systemClock, random: Math.random });
  // The kind is served a moment after it is established.
  await vi.waitFor(async () => {
    assert.equal((await connection.send(get(usersPath(undefined)), signal)).status, 200);
  }, SOON);
  await send("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
});

afterAll(async () => {
  await watches?.close();
  if (connection !== undefined) {
    await connection.send({ method: "DELETE", path: `/api/v1/namespaces/${namespace}` }, signal);
    connection.close();
  }
});

const get = (path: string): ApiRequest => ({ method: "GET", path });
const object = z.looseObject({ metadata: z.looseObject({}) });

async function send(method: ApiRequest["method"], path: string, body?: unknown, patchType?: "merge") {
  const answer = await connection.send({ method, path, body, patchType }, signal);
  assert(answer.status < 300, `${method} ${path}: ${answer.text}`);
  return object.parse(JSON.parse(answer.text));
}

function usersPath(name: string | undefined): string {
  const collection = `/apis/${API_VERSION}/namespaces/${namespace}/tenantusers`;
  return name === undefined ? collection : `${collection}/${name}`;
}

async function makeUser(name: string): Promise<LiveTenantUser> {
  const spec = { email: `${name}@example.com` };
  await send("POST", usersPath(undefined), { apiVersion: API_VERSION, kind: "TenantUser", metadata: { name }, spec });
  return readUser(name);
}

async function readUser(name: string): Promise<LiveTenantUser> {
  const user = await cluster.getTenantUser(namespace, name, signal);
  assert(user !== undefined);
  return user;
}

const touch = (name: string) =>
  send("PATCH", usersPath(name), { metadata: { annotations: { touched: randomUUID() } } }, "merge");

describe("the cluster", () => {
  it("has a name for ever, our CRD, and namespaces that live", async () => {
    const id = await cluster.clusterID(signal);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await cluster.clusterID(signal)).toBe(id);
    expect(await cluster.tenantUserCRD(signal)).toBe("present");
    expect(await cluster.namespaceActive(namespace, signal)).toBe(true);
    expect(await cluster.namespaceActive(`no-${namespace}`, signal)).toBe(false);
  });

  it("uses one connection", () => {
    expect(connection.sessions()).toBe(1);
  });
});

describe("a TenantUser", () => {
  it("that is not there is undefined", async () => {
    expect(await cluster.getTenantUser(namespace, "nobody", signal)).toBeUndefined();
    expect(await cluster.getTenantUser(`no-${namespace}`, "nobody", signal)).toBeUndefined();
  });

  it("gets its status by apply, only as it was seen; the same again is no write", async () => {
    const seen = await makeUser("status");
    expect(seen.status?.observedGeneration).toBe(-1);
    await touch("status");
    const status = { observedGeneration: 1, state: "pending", userUUID: NOBODY } as const;
    await expect(cluster.applyTenantUserStatus(seen, status, signal)).rejects.toMatchObject({ class: "conflict" });
    expect(await cluster.applyTenantUserStatus(await readUser("status"), status, signal)).toBe(true);
    const written = await readUser("status");
    expect(written.status).toEqual(status);
    expect(await cluster.applyTenantUserStatus(written, status, signal)).toBe(true);
    expect((await readUser("status")).metadata.resourceVersion).toBe(written.metadata.resourceVersion);
    // What is left out is removed.
    expect(await cluster.applyTenantUserStatus(written, { observedGeneration: 1 }, signal)).toBe(true);
    expect((await readUser("status")).status).toEqual({ observedGeneration: 1 });
    const managers = z.array(z.looseObject({ manager: z.string(), subresource: z.string().optional() }));
    expect(managers.parse((await readUser("status")).metadata["managedFields"])).toContainEqual(
      expect.objectContaining({ manager: FIELD_MANAGER, operation: "Apply", subresource: "status" }),
    );
  });

  it("that was made again under its name keeps the status of another one off", async () => {
    const first = await makeUser("again");
    await send("DELETE", usersPath("again"));
    expect(await cluster.applyTenantUserStatus(first, { state: "done" }, signal)).toBe(false);
    await makeUser("again");
    await expect(cluster.applyTenantUserStatus(first, { state: "done" }, signal)).rejects.toMatchObject({
      class: "conflict",
    });
    expect((await readUser("again")).status?.state).toBeUndefined();
  });

  it("gets our finalizer only as it was seen", async () => {
    const user = await makeUser("finalizer");
    await touch("finalizer");
    await expect(cluster.addFinalizer(user, signal)).rejects.toMatchObject({ class: "conflict" });
    const finalized = await cluster.addFinalizer(await readUser("finalizer"), signal);
    expect(finalized.metadata.finalizers).toEqual([FINALIZER]);
    expect(await cluster.addFinalizer(finalized, signal)).toBe(finalized);
    await send("DELETE", usersPath("finalizer"));
    const dying = await readUser("finalizer");
    expect(dying.metadata.deletionTimestamp).toBeDefined();
    await expect(
      cluster.addFinalizer({ ...dying, metadata: { ...dying.metadata, finalizers: [] } }, signal),
    ).rejects.toMatchObject({ class: "conflict" });
    await cluster.removeFinalizer(dying, signal);
    expect(await cluster.getTenantUser(namespace, "finalizer", signal)).toBeUndefined();
    await cluster.removeFinalizer(dying, signal);
  });

  it("loses our finalizer alone, also when others have moved it", async () => {
    const user = await cluster.addFinalizer(await makeUser("finalizers"), signal);
    const finalizers = ["example.com/first", FINALIZER, "example.com/last"];
    await send("PATCH", usersPath("finalizers"), { metadata: { finalizers } }, "merge");
    await cluster.removeFinalizer({ ...user, metadata: { ...user.metadata, uid: NOBODY } }, signal);
    expect((await readUser("finalizers")).metadata.finalizers).toEqual(finalizers);
    await cluster.removeFinalizer(user, signal);
    expect((await readUser("finalizers")).metadata.finalizers).toEqual(["example.com/first", "example.com/last"]);
    await send("PATCH", usersPath("finalizers"), { metadata: { finalizers: null } }, "merge");
  });
});

describe("a Tenant", () => {
  const path = `/apis/${API_VERSION}/tenants`;
  const name = `kube-test-${run8}`;
  const find = async (): Promise<Tenant> => {
    const tenant = (await cluster.listTenants(signal)).find((one) => one.metadata.name === name);
    assert(tenant !== undefined);
    return tenant;
  };

  it("is listed whole, has a status and a finalizer", async () => {
    const spec = {
      tenantID: name,
      namespaces: [namespace],
      keycloak: { url: "https://kc.example.com", realm: "a", credentialsSecretName: "kc" },
      newapi: { url: "https://llm.example.com", credentialsSecretName: "newapi" },
      suspend: true,
    };
    await send("POST", path, { apiVersion: API_VERSION, kind: "Tenant", metadata: { name }, spec });
    try {
      const tenant = await find();
      expect(tenant.spec.keycloak.defaultGroups).toEqual(["sme-users"]);
      const written = await cluster.applyTenantStatus(tenant, { observedGeneration: 1 }, signal);
      expect(written).toBe((await find()).metadata.resourceVersion);
      const finalized = await cluster.setTenantFinalizer(await find(), true, signal);
      expect(await cluster.getTenant(name, signal)).toEqual(await find());
      expect((await find()).metadata).toMatchObject({ resourceVersion: finalized, finalizers: [FINALIZER] });
    } finally {
      await send("DELETE", `${path}/${name}`);
    }
    const gone = await find();
    await cluster.setTenantFinalizer(gone, false, signal);
    expect(await cluster.getTenant(name, signal)).toBeUndefined();
    expect(await cluster.applyTenantStatus(gone, { observedGeneration: 2 }, signal)).toBeUndefined();
    expect((await cluster.listTenants(signal)).some((tenant) => tenant.metadata.name === name)).toBe(false);
  });

  it("and a TenantUser get Events that kubectl finds", async () => {
    const note = "ü".repeat(1_000);
    for (const about of [{ kind: "Tenant" as const }, { kind: "TenantUser" as const, namespace }]) {
      const regarding = { ...about, name: `about-${run8}`, uid: NOBODY };
      const event = { object: regarding, type: "Warning", reason: "NotAllowed", action: "Reconcile", note } as const;
      await cluster.recordEvent(event, signal);
      // As `kubectl describe` looks for them.
      const query = {
        fieldSelector: `involvedObject.name=${regarding.name},involvedObject.namespace=${about.namespace ?? ""}`,
      };
      const list = await connection.send({ ...get("/api/v1/events"), query }, signal);
      const { items } = z
        .object({ items: z.array(z.looseObject({ message: z.string() })) })
        .parse(JSON.parse(list.text));
      expect(items).toHaveLength(1);
      expect(items[0]).toMatchObject({ reason: "NotAllowed", type: "Warning" });
      expect(Buffer.byteLength(items[0]?.message ?? "")).toBeLessThanOrEqual(1_024);
    }
  });
});

const body = (data: Record<string, string>): SecretBody => ({
  name: "newapi-key-test",
  namespace,
  labels: { a: "b" },
  annotations: {},
  data,
});

describe("a Secret", () => {
  it("is created once, replaced as seen, deleted by uid", async () => {
    expect(await cluster.getSecret(namespace, body({}).name, signal)).toBeUndefined();
    const made = await cluster.createSecret(body({ "api-key": "schlüssel" }), signal);
    expect(made).toMatchObject({ type: "Opaque", metadata: { labels: { a: "b" } } });
    expect(Buffer.from(made.data?.["api-key"] ?? "", "base64").toString()).toBe("schlüssel");
    await expect(cluster.createSecret(body({}), signal)).rejects.toMatchObject({ code: "AlreadyExists" });

    const replaced = await cluster.replaceSecret(made, body({ OPENAI_API_KEY: "neu" }), signal);
    expect(Object.keys(replaced.data ?? {})).toEqual(["OPENAI_API_KEY"]);
    expect(replaced.metadata.uid).toBe(made.metadata.uid);
    await expect(cluster.replaceSecret(made, body({}), signal)).rejects.toMatchObject({ class: "conflict" });

    await expect(cluster.deleteSecret(namespace, body({}).name, NOBODY, signal)).rejects.toMatchObject({
      class: "conflict",
    });
    const uid = made.metadata.uid ?? "";
    await cluster.deleteSecret(namespace, body({}).name, uid, signal);
    await cluster.deleteSecret(namespace, body({}).name, uid, signal);
    await expect(cluster.replaceSecret(replaced, body({}), signal)).rejects.toMatchObject({ class: "conflict" });
  });

  it("that breaks a rule is refused, without quoting the key's value", async () => {
    const failure = cluster.createSecret(body({ "not allowed": "sehr-geheim" }), signal);
    await expect(failure).rejects.toMatchObject({ class: "waiting", code: "SecretRefused", upstreamStatus: 422 });
    await expect(failure).rejects.not.toThrow(/sehr-geheim/);
  });

  const named = (name: string, data: Record<string, string> = { "api-key": "sehr-geheim" }): SecretBody => ({
    ...body(data),
    name: `newapi-key-${name}`,
  });
  const refused = { class: "waiting", code: "SecretRefused" };

  it("that is immutable takes no write, also as a dry run; another one in its place would be let in", async () => {
    const made = await cluster.createSecret(named("frozen"), signal);
    const path = `/api/v1/namespaces/${namespace}/secrets/${made.metadata.name}`;
    await send("PATCH", path, { immutable: true }, "merge");
    const frozen = await cluster.getSecret(namespace, made.metadata.name, signal);
    assert(frozen !== undefined);
    expect(frozen.immutable).toBe(true);
    const wanted = named("frozen", { "api-key": "neu" });
    await expect(cluster.tryReplaceSecret(frozen, wanted, signal)).rejects.toMatchObject(refused);
    await expect(cluster.replaceSecret(frozen, wanted, signal)).rejects.toMatchObject({
      ...refused,
      upstreamStatus: 422,
    });
    await cluster.tryCreateSecret(wanted, signal);
    expect(await cluster.getSecret(namespace, made.metadata.name, signal)).toEqual(frozen);
    await cluster.deleteSecret(namespace, made.metadata.name, made.metadata.uid ?? "", signal);
    const again = await cluster.createSecret(wanted, signal);
    expect(again.metadata.uid).not.toBe(made.metadata.uid);
  });

  it("is tried without being written", async () => {
    await cluster.tryCreateSecret(named("tried"), signal);
    expect(await cluster.getSecret(namespace, named("tried").name, signal)).toBeUndefined();
    const made = await cluster.createSecret(named("tried"), signal);
    await cluster.tryReplaceSecret(made, named("tried", { "api-key": "neu" }), signal);
    expect(await cluster.getSecret(namespace, made.metadata.name, signal)).toEqual(made);
    const large = { ...named("tried"), annotations: { a: "x".repeat(300_000) } };
    await expect(cluster.tryReplaceSecret(made, large, signal)).rejects.toMatchObject(refused);
    await expect(cluster.tryCreateSecret({ ...large, name: "newapi-key-large" }, signal)).rejects.toMatchObject(
      refused,
    );
  });

  it("that a quota has no room for waits, and is taken when there is room", async () => {
    const quotas = `/api/v1/namespaces/${namespace}/resourcequotas`;
    const quota = {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { name: "few" },
      spec: { hard: { "count/secrets": "1" } },
    };
    await send("POST", quotas, quota);
    const told = z.looseObject({ status: z.looseObject({ used: z.record(z.string(), z.string()) }) });
    await vi.waitFor(async () => {
      const { text } = await connection.send(get(`${quotas}/few`), signal);
      assert(told.safeParse(JSON.parse(text)).success);
    }, SOON);
    for (const attempt of ["tryCreateSecret", "createSecret"] as const) {
      const failure = cluster[attempt](named("quota"), signal);
      await expect(failure).rejects.toMatchObject({ ...refused, upstreamStatus: 403 });
      await expect(failure).rejects.toThrow(/exceeded quota: few/);
    }
    await send("PATCH", `${quotas}/few`, { spec: { hard: { "count/secrets": "100" } } }, "merge");
    await vi.waitFor(() => cluster.createSecret(named("quota"), signal), SOON);
    await connection.send({ method: "DELETE", path: `${quotas}/few` }, signal);
  });

  it("that a policy of somebody denies is refused alike when it is tried", async () => {
    const policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    const name = `no-${namespace}`;
    await send("POST", policies, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name },
      spec: {
        matchConstraints: {
          resourceRules: [
            { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["secrets"] },
          ],
        },
        validations: [{ expression: "!object.metadata.name.endsWith('denied')", message: "not here" }],
      },
    });
    const bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    await send("POST", bindings, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name },
      spec: { policyName: name, validationActions: ["Deny"] },
    });
    try {
      await vi.waitFor(
        async () => {
          await expect(cluster.tryCreateSecret(named("denied"), signal)).rejects.toMatchObject(refused);
        },
        { timeout: 30_000, interval: 200 },
      );
      await expect(cluster.createSecret(named("denied"), signal)).rejects.toThrow(/not here/);
      expect(await cluster.getSecret(namespace, named("denied").name, signal)).toBeUndefined();
    } finally {
      for (const path of [`${bindings}/${name}`, `${policies}/${name}`])
        await connection.send({ method: "DELETE", path }, signal);
    }
  });

  it("that a finalizer holds is there until that is gone, and a watch of its name alone tells when", async () => {
    const made = await cluster.createSecret(named("held"), signal);
    await cluster.createSecret(named("other"), signal);
    const path = `/api/v1/namespaces/${namespace}/secrets/${made.metadata.name}`;
    await send("PATCH", path, { metadata: { finalizers: ["example.com/hold"] } }, "merge");
    await cluster.deleteSecret(namespace, made.metadata.name, made.metadata.uid ?? "", signal);
    const said: string[] = [];
    const watch = watches.open(
      { path: `/api/v1/namespaces/${namespace}/secrets`, fieldSelector: `metadata.name=${made.metadata.name}` },
      (event) =>
        void said.push(event.kind === "listed" ? `listed ${event.items.length}` : `${event.kind} ${event.object.name}`),
    );
    await watch.synced;
    const held = await cluster.getSecret(namespace, made.metadata.name, signal);
    expect(held?.metadata).toMatchObject({ deletionTimestamp: expect.any(String), finalizers: ["example.com/hold"] });
    await expect(cluster.createSecret(named("held"), signal)).rejects.toMatchObject({ code: "AlreadyExists" });
    await send("PATCH", path, { metadata: { finalizers: [] } }, "merge");
    await vi.waitFor(() => expect(said).toEqual(["listed 1", `deleted ${made.metadata.name}`]), SOON);
    await watch.stop();
    await cluster.createSecret(named("held"), signal);
  });

  it("in a namespace that is gone or going is transient", async () => {
    const gone = `no-${namespace}`;
    const failure = cluster.createSecret({ ...body({}), namespace: gone }, signal);
    await expect(failure).rejects.toMatchObject({ class: "transient", code: "NamespaceNotFound" });
  });

  it("says which rights are missing to somebody who has none", async () => {
    const asked: string[] = [];
    const journaled: ApiClient = {
      ...connection,
      send(request, cut) {
        asked.push(request.path);
        return connection.send(request, cut);
      },
    };
    const ours = makeCluster(journaled, { log: silentLog, random: Math.random, instance: "kube-test" });
    expect(await ours.missingSecretRights(namespace, signal)).toEqual([]);
    expect(asked).toEqual(["/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"]);
    const poor = impersonating(connection, "nobody-at-all");
    const other = makeCluster(poor, { log: silentLog, random: Math.random, instance: "kube-test" });
    expect(await other.missingSecretRights(namespace, signal)).toEqual(
      SECRET_VERBS.map((verb) => `${verb} secrets in ${namespace}`),
    );
    const failure = other.createSecret(body({}), signal);
    await expect(failure).rejects.toMatchObject({ class: "terminal", code: "MissingPermission" });
    await expect(failure).rejects.toThrow(`create secrets in ${namespace}`);
  });
});

describe("a watch", () => {
  it("tells of TenantUsers as they come, change and go", async () => {
    await makeUser("watch-before");
    const said: string[] = [];
    const tell = (event: WatchEvent) => {
      if (event.kind === "listed") said.push("listed");
      else if (event.object.name.startsWith("watch-")) said.push(`${event.kind} ${event.object.name}`);
      expect(JSON.stringify(event)).not.toContain("managedFields");
    };
    const watch = watches.open({ path: usersPath(undefined) }, tell);
    await watch.synced;
    await makeUser("watch-live");
    await touch("watch-live");
    await send("DELETE", usersPath("watch-before"));
    await expect
      .poll(() => said, SOON)
      .toEqual(["listed", "added watch-live", "modified watch-live", "deleted watch-before"]);
    expect(Date.now() - watch.lastProgress()).toBeLessThan(SOON.timeout);
    await watch.stop();
  });

  it("with a selector tells of matching Secrets only", async () => {
    const names: string[] = [];
    const target = { path: `/api/v1/namespaces/${namespace}/secrets`, labelSelector: "mine=yes" };
    const watch = watches.open(target, (event) => {
      if (event.kind !== "listed") names.push(`${event.kind} ${event.object.name}`);
    });
    await watch.synced;
    const base = { namespace, annotations: {}, data: {} };
    await cluster.createSecret({ ...base, name: "other", labels: {} }, signal);
    await cluster.createSecret({ ...base, name: "mine", labels: { mine: "yes" } }, signal);
    await expect.poll(() => names, SOON).toEqual(["added mine"]);
    await watch.stop();
  });
});

describe("the webhook's certificate", () => {
  const name = `kube-test-${run8}.example.com`;
  const registered = "/apis/admissionregistration.k8s.io/v1";
  const webhook = (hook: string) => ({
    name: `${hook}.${name}`,
    // Matches nothing that anybody sends.
    rules: [{ apiGroups: [name], apiVersions: ["v1"], operations: ["CREATE"], resources: ["nothing"] }],
    clientConfig: { url: "https://127.0.0.1:1/" },
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
    failurePolicy: "Ignore",
  });

  it("gets its Secret and the CA in every webhook, and says which configuration is missing", async () => {
    const config = makeWebhookConfig(connection, namespace);
    expect(await config.getTLSSecret("tls", signal)).toBeUndefined();
    const data = { "tls.crt": "crt", "tls.key": "key", "ca.crt": "ca" };
    const made = await config.putTLSSecret("tls", undefined, data, signal);
    expect(made.type).toBe("kubernetes.io/tls");
    await config.putTLSSecret("tls", made, { ...data, "tls.crt": "crt2" }, signal);
    await expect(config.putTLSSecret("tls", made, data, signal)).rejects.toMatchObject({ class: "conflict" });
    await expect(config.putTLSSecret("tls", undefined, data, signal)).rejects.toMatchObject({ class: "conflict" });

    const bundle = await readFirstCA();
    const names = { mutating: name, validating: name };
    expect(await config.setCABundle(names, bundle, signal)).toEqual([name, name]);
    const path = `${registered}/validatingwebhookconfigurations`;
    const kind = "ValidatingWebhookConfiguration";
    const apiVersion = "admissionregistration.k8s.io/v1";
    await send("POST", path, { apiVersion, kind, metadata: { name }, webhooks: [webhook("one"), webhook("two")] });
    try {
      expect(await config.setCABundle(names, bundle, signal)).toEqual([name]);
      const written = await send("GET", `${path}/${name}`);
      const caBundle = Buffer.from(bundle).toString("base64");
      expect(written["webhooks"]).toMatchObject([{ clientConfig: { caBundle } }, { clientConfig: { caBundle } }]);
      await config.setCABundle(names, bundle, signal);
      expect((await send("GET", `${path}/${name}`)).metadata["resourceVersion"]).toBe(
        written.metadata["resourceVersion"],
      );
    } finally {
      await send("DELETE", `${path}/${name}`);
    }
  });
});

/** The API server takes only a real certificate for a CA. */
async function readFirstCA(): Promise<string> {
  const { generate } = await import("selfsigned");
  return (await generate([{ name: "commonName", value: "test CA" }], { keyType: "ec" })).cert;
}

/** The same connection, as somebody else. */
function impersonating(as: ApiClient, user: string): ApiClient {
  return {
    ...as,
    send: (request, until) => as.send({ ...request, headers: { "impersonate-user": user } }, until),
  };
}
