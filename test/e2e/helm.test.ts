/**
 * The charts in a real API server, over a kustomize installation that is there: people stay through installation, upgrade and
 * uninstallation. There are no nodes here, so Helm runs no Jobs: each Job's command runs in this process, with the rights of its
 * ServiceAccount.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import { openPodCluster } from "../../src/kube/personal.ts";
import { toYAML } from "../../src/lib/yaml.ts";
import { helm, installChart, PRODUCT_RELEASE, uninstallChart } from "../../stack/chart.ts";
import { applyText, kubectl } from "../../stack/kube.ts";
import { type CLIOutcome, runCLI } from "../support/cli.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

const LONG = 600_000;
const CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
const NAMESPACE = "unified-rbac-system";

let platform: Platform;
let tenant: TestTenant;
let ada: Person;
let values: object;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-chart-"));
  platform = await openPlatform();
  tenant = await platform.tenant("helm");
  await tenant.apply("ada");
  ada = await tenant.person("ada");
  const port = readFileSync(join(platform.env.STACK_DIR, "data", "product", "port"), "utf8").trim();
  values = { replicas: 0, webhook: { url: `https://127.0.0.1:${port}` } };
}, LONG);

afterAll(async () => {
  await kubectl(platform.env, ["-n", NAMESPACE, "delete", "secret", "-l", "owner=helm"]).catch(() => "");
  await platform.close();
  rmSync(folder, { recursive: true, force: true });
}, LONG);

const get = (...args: readonly string[]): Promise<string> => kubectl(platform.env, ["get", ...args]);
const admission = (args: readonly string[], kubeconfig = platform.env.KUBECONFIG): Promise<CLIOutcome> =>
  runCLI(["admission", ...args], { env: { KUBECONFIG: kubeconfig } });

const hookObject = z.looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) });
const job = z.looseObject({
  spec: z.looseObject({
    template: z.looseObject({
      spec: z.looseObject({
        serviceAccountName: z.string(),
        containers: z.tuple([z.looseObject({ args: z.array(z.string()) })]),
      }),
    }),
  }),
});

/** What Helm does with a hook, but for the Pod: its objects are applied; the command and a kubeconfig of its account. */
async function prepareHook(name: string): Promise<{ args: readonly string[]; kubeconfig: string }> {
  const text = await helm(platform.env.KUBECONFIG, ["get", "hooks", PRODUCT_RELEASE]);
  const all = parseAllDocuments(text).map((document) => hookObject.parse(document.toJS()));
  const mine = all.filter(({ metadata }) => metadata.name === name);
  const found = mine.find(({ kind }) => kind === "Job");
  assert(found !== undefined, `there is no hook ${name}`);
  await applyText(
    platform.env,
    mine
      .filter(({ kind }) => kind !== "Job")
      .map(toYAML)
      .join("---\n"),
  );
  const { serviceAccountName, containers } = job.parse(found).spec.template.spec;
  const token = (await kubectl(platform.env, ["-n", NAMESPACE, "create", "token", serviceAccountName])).trim();
  // As the kubelet mounts it.
  mkdirSync(join(folder, name));
  writeFileSync(join(folder, name, "token"), token);
  copyFileSync(platform.env.KUBE_CA_FILE, join(folder, name, "ca.crt"));
  const kubeconfig = join(folder, `${name}.kubeconfig`);
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "c",
          cluster: { server: platform.env.KUBE_API_URL, "certificate-authority": platform.env.KUBE_CA_FILE },
        },
      ],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      "current-context": "c",
    }),
  );
  return { args: containers[0].args, kubeconfig };
}

/** As the Job would, with another patience. */
const runHook = ({ args, kubeconfig }: Awaited<ReturnType<typeof prepareHook>>, ...more: readonly string[]) =>
  runCLI([...args, ...more], { env: { KUBECONFIG: kubeconfig } });

it(
  "the charts take over what kustomize installed, and everybody stays",
  async () => {
    await installChart(platform.env.KUBECONFIG, values, { hooks: false, takeOwnership: true });
    expect(
      await get("crd", "tenantusers.catalyst.openova.io", "-o", "jsonpath={.metadata.labels.helm\\.sh/chart}"),
    ).toMatch(/^unified-rbac-crds-/);
    expect(await tenant.person("ada")).toEqual(ada);
    await tenant.apply("grace");
    await tenant.person("grace");
  },
  LONG,
);

it(
  "the Job after an installation finds that the API server calls the webhook, and says so when it does not",
  async () => {
    const hook = await prepareHook("unified-rbac-check");
    expect(await runHook(hook)).toMatchObject({ code: 0, out: "The API server calls the webhook.\n" });
    // In a Pod there is no kubeconfig: there, the command uses the mounted token.
    const { hostname, port } = new URL(platform.env.KUBE_API_URL);
    const dir = join(folder, "unified-rbac-check");
    const pod = openPodCluster({ host: hostname, port, dir }, new AbortController().signal);
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const self = await pod.ask({ method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews", body });
    pod.close();
    expect(self).toMatchObject({
      status: { userInfo: { username: `system:serviceaccount:${NAMESPACE}:unified-rbac-check` } },
    });
    // Its account may do nothing else.
    expect(await admission(["remove"], hook.kubeconfig)).toMatchObject({ code: 3 });

    await platform.product.kill("webhook", "SIGTERM");
    const failed = await runHook(hook, "--timeout=0");
    expect(failed.code).toBe(1);
    expect(failed.out).toMatch(/did not call the webhook/);
    await platform.product.start("webhook");
    expect(await runHook(hook, "--timeout=30")).toMatchObject({ code: 0 });
    expect(await get("tenantusers", "-n", NAMESPACE, "-o", "name")).toBe("");
  },
  LONG,
);

it(
  "an upgrade changes settings and leaves the CA of the webhook and everybody alone",
  async () => {
    const ca = () => get(CONFIGURATIONS, "-o", "jsonpath={.items[*].webhooks[*].clientConfig.caBundle}");
    const before = await ca();
    expect(before.split(" ")).toHaveLength(2);
    await installChart(platform.env.KUBECONFIG, { ...values, settings: { WORKERS: 17 } }, { hooks: false });
    const workers = ["-n", NAMESPACE, "-o", "jsonpath={.data.WORKERS}"];
    expect(await get("configmap", "unified-rbac-settings", ...workers)).toBe("17");
    expect(await ca()).toBe(before);
    expect(await admission(["check"])).toMatchObject({ code: 0 });
    expect(await tenant.person("ada")).toEqual(ada);
  },
  LONG,
);

it(
  "an uninstallation loses nobody and blocks nothing; after the next installation, what waited happens",
  async () => {
    const hook = await prepareHook("unified-rbac-remove-webhooks");
    // The account that removes the configurations may create nobody.
    expect(await admission(["check", "--timeout=0"], hook.kubeconfig)).toMatchObject({ code: 3 });
    expect(await runHook(hook)).toMatchObject({ code: 0 });
    expect(await get(CONFIGURATIONS, "-l", "app.kubernetes.io/name=unified-rbac", "-o", "name")).toBe("");
    // A second time, after half of it failed: the same.
    expect(await runHook(hook)).toMatchObject({ code: 0 });

    await uninstallChart(platform.env.KUBECONFIG, { hooks: false });
    const left = await get(
      "clusterrole,clusterrolebinding",
      "-l",
      "app.kubernetes.io/instance=unified-rbac",
      "-o",
      "name",
    );
    // Those of the hook, which Helm deletes itself when it runs hooks.
    expect(
      left
        .trim()
        .split("\n")
        .every((name) => name.endsWith("/unified-rbac-remove-webhooks")),
    ).toBe(true);
    for (const name of ["tenants", "tenantusers"]) await get("crd", `${name}.catalyst.openova.io`);
    expect(await platform.opens(ada.apiKey)).toBe(200);

    await tenant.apply("hedy");
    await tenant.remove("grace");

    await platform.reinstall(() => installChart(platform.env.KUBECONFIG, values, { hooks: false }));
    await tenant.person("hedy");
    await tenant.gone("grace");
    expect(await tenant.person("ada")).toEqual(ada);
  },
  LONG,
);
