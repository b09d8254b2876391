/** What we are measured against does the same work outside: the calls of the floors are journaled beside ours. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";

import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import { readStackEnv } from "../../stack/index.ts";
import { askChild, startChild } from "../../bench/children.ts";
import {
  type BenchTenant,
  FLOOR_KIND,
  type Environment,
  openEnvironment,
  type Place,
} from "../../bench/environment.ts";
import { type Journals, openJournals } from "../../bench/journaled.ts";
import { type KubeCall, type KubeProxy, kubeProxy } from "../../bench/kubeProxy.ts";
import { applyRequest } from "../../bench/kube.ts";
import { burst, floorTask } from "../../bench/people.ts";
import { SIZES } from "../../bench/sizes.ts";
import { type RecordingProxy, recordingProxy } from "../support/recordingProxy.ts";

let environment: Environment;
let place: Place;
let journals: Journals;
let tenant: BenchTenant;
const proxies: (KubeProxy | RecordingProxy)[] = [];

beforeAll(async () => {
  environment = await openEnvironment(readStackEnv(process.env["STACK_NAME"] ?? "test"), SIZES.tiny, () => {});
  place = await environment.place("floors");
  await (await place.start({}, { roles: [] })).stop();
  journals = await openJournals(environment);
  tenant = await place.tenant({ keycloakURL: journals.keycloak.url, newapiURL: journals.newapi.url });
  await place.start(journals.env);
  await tenant.ready();
});

afterAll(async () => {
  for (const proxy of proxies) await ("close" in proxy ? proxy.close() : proxy[Symbol.asyncDispose]());
  await place.close();
  await journals.close();
  environment.close();
});

/** A kubeconfig of the administrator that goes through a journal. */
async function journaledKubeconfig(): Promise<{ file: string; proxy: KubeProxy }> {
  const kubeconfig = z.looseObject({
    clusters: z.tuple([z.looseObject({ cluster: z.looseObject({ server: z.string() }) })]),
    users: z.tuple([
      z.looseObject({ user: z.looseObject({ "client-certificate-data": z.string(), "client-key-data": z.string() }) }),
    ]),
  });
  const config = kubeconfig.parse(parse(readFileSync(environment.env.KUBECONFIG, "utf8")));
  const [{ user }] = config.users;
  const plain = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");
  const proxy = await kubeProxy(environment.env, {
    cert: plain(user["client-certificate-data"]),
    key: plain(user["client-key-data"]),
  });
  proxies.push(proxy);
  const ca = Buffer.from(proxy.ca).toString("base64");
  config.clusters[0].cluster = { server: proxy.url, "certificate-authority-data": ca };
  const file = join(environment.logs, "floor.kubeconfig");
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return { file, proxy };
}

/** Ids and names out, queries out: what was asked of whom. */
function shape(calls: readonly KubeCall[]): string[] {
  return (
    calls
      .map(({ method, path }) => `${method} ${path.split("?")[0]}`)
      .map((call) => call.replace(FLOOR_KIND.group, "catalyst.openova.io"))
      .map((call) => call.replace(/\/tenantusers\/[^/]+/, "/tenantusers/<name>"))
      .map((call) => call.replace(/\/realms\/[^/]+/, "/realms/<realm>"))
      // The admin client writes users/, which is the same.
      .map((call) => call.replace(/\/$/, ""))
      .toSorted()
  );
}

const FOUR_CALLS = [
  "PATCH /apis/catalyst.openova.io/v1alpha1/namespaces/<namespace>/tenantusers/<name>/status",
  "POST /admin/realms/<realm>/users",
  "POST /api/v1/admin/users",
  "POST /api/v1/namespaces/<namespace>/secrets",
];

const writesOf = (calls: readonly KubeCall[]): string[] =>
  shape(calls.filter(({ method, path }) => method !== "GET" && !path.includes("/protocol/openid-connect/token"))).map(
    (call) => call.replace(`/namespaces/${tenant.namespace}/`, "/namespaces/<namespace>/"),
  );

describe("one person", () => {
  it("costs us the four writes of the floor, and one Event", async () => {
    const { kubernetes, keycloak, newapi } = journals;
    const before = [kubernetes.calls.length, keycloak.calls.length, newapi.calls.length];
    await burst(environment, place, [tenant], { prefix: "ours", count: 1 });
    const inNamespace = kubernetes.calls.slice(before[0]).filter(({ path }) => path.includes(`/${tenant.namespace}/`));
    const calls = [...inNamespace, ...keycloak.calls.slice(before[1]), ...newapi.calls.slice(before[2])];
    const writes = writesOf(calls);
    const events = "POST /apis/events.k8s.io/v1/namespaces/<namespace>/events";
    expect(writes.filter((call) => call === events)).toHaveLength(1);
    expect(writes.filter((call) => call !== events)).toEqual(FOUR_CALLS);
  });

  it("costs the floor these four calls and nothing else", async () => {
    const { file, proxy } = await journaledKubeconfig();
    const keycloak = await recordingProxy(environment.env.KEYCLOAK_URL);
    const newapi = await recordingProxy(environment.env.NEWAPI_URL);
    proxies.push(keycloak, newapi);
    const { apiVersion, kind, plural } = FLOOR_KIND;
    const path = `/apis/${apiVersion}/namespaces/${tenant.namespace}/${plural}`;
    await environment.api.send(applyRequest(path, "floor-0", "floor-0@bench.example", apiVersion, kind));
    const task = floorTask(environment, tenant, { prefix: "floor", count: 1, concurrency: 1 });
    await askChild(
      "floors/people.ts",
      {
        ...task,
        kubeconfig: file,
        keycloak: { ...task.keycloak, url: keycloak.url },
        newapi: { ...task.newapi, url: newapi.url },
      },
      z.object({ seconds: z.number() }),
    );
    const calls = [...proxy.calls, ...keycloak.calls, ...newapi.calls];
    expect(writesOf(calls)).toEqual(FOUR_CALLS);
    expect(calls.filter(({ method }) => method === "GET")).toEqual([]);
  });
});

describe("a namespace", () => {
  const watches = (calls: readonly KubeCall[]) =>
    calls
      .map(({ path }) => new URL(path, "http://kubernetes.invalid"))
      .filter(({ pathname, searchParams }) => pathname.endsWith("/secrets") && searchParams.get("watch") === "true")
      .map(({ pathname, searchParams }) => ({
        namespace: pathname.split("/").at(-2),
        labelSelector: searchParams.get("labelSelector"),
        bookmarks: searchParams.get("allowWatchBookmarks"),
      }));

  it("is one watch of our Secrets, by us and by the floor", async () => {
    const wanted = [
      { namespace: tenant.namespace, labelSelector: `${LABEL_MANAGED_BY}=${FIELD_MANAGER}`, bookmarks: "true" },
    ];
    const ofTenants = ({ path }: KubeCall): boolean => path.includes(`/${tenant.namespace}/`);
    // Once it is known which replicas share the namespaces.
    await expect.poll(() => watches(journals.kubernetes.calls.filter(ofTenants)), { timeout: 90_000 }).toEqual(wanted);

    const { file, proxy } = await journaledKubeconfig();
    const child = startChild("floors/watches.ts", {
      kubeconfig: file,
      namespaces: [tenant.namespace],
      labelSelector: wanted[0]?.labelSelector,
    });
    try {
      const opened = z.object({ open: z.number() });
      while ((await child.says(opened)).open === 0);
    } finally {
      await child.stop();
    }
    expect(watches(proxy.calls)).toEqual(wanted);
  });
});
