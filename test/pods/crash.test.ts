/** Containers that are killed, and a cluster without DNS. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { DEPLOYMENT, rolledOut } from "../../stack/cluster/install.ts";
import { kubectl } from "../../stack/kube.ts";
import { openPods, type Pods } from "../support/pods.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let pods: Pods;
let tenant: TestTenant;

beforeAll(async () => {
  pods = await openPods();
  await pods.settled();
  tenant = await pods.tenant("crash");
});
afterAll(() => pods?.close());

describe.each(["webhook", "reconciler"] as const)("a %s that is killed", (container) => {
  it("is started again in both Pods at once, and people come as before", async () => {
    const before = await pods.settled();
    const restarts = (all: typeof before): number =>
      all
        .flatMap(({ status }) => status.containerStatuses)
        .filter(({ name }) => name === container)
        .reduce((sum, { restartCount }) => sum + restartCount, 0);
    await Promise.all(before.map((pod) => pods.kill(pod, container)));
    // Written while nobody may be there: late, and not lost.
    await tenant.apply(`while-${container}`);
    await soon(async () => expect(restarts(await pods.settled())).toBe(restarts(before) + 2), 120_000);
    await tenant.person(`while-${container}`);
    await tenant.apply(`after-${container}`);
    await tenant.person(`after-${container}`);
  });
});

describe("a cluster without DNS", () => {
  it("still gets the reconciler to the API server, by KUBERNETES_SERVICE_HOST and _PORT", async () => {
    const dns = ["-n", "kube-system", "scale", "deployment/coredns"];
    const secret = ["get", "secret", "unified-rbac-database", "-o", "json"];
    const stored = JSON.parse(await pods.kubectl(...secret)) as { data: Record<string, string> };
    const address = (
      await kubectl(pods.env, ["get", "service", "postgres", "-n", "postgres", "-o", "jsonpath={.spec.clusterIP}"])
    ).trim();
    const byAddress = Object.fromEntries(
      Object.entries(stored.data).map(([key, value]) => {
        const url = Buffer.from(value, "base64").toString("utf8").replace("postgres.postgres.svc", address);
        return [key, Buffer.from(url).toString("base64")];
      }),
    );
    const patch = (data: object): Promise<string> =>
      pods.kubectl("patch", "secret", "unified-rbac-database", "-p", JSON.stringify({ data }));
    try {
      await patch(byAddress);
      await kubectl(pods.env, [...dns, "--replicas=0"]);
      await pods.kubectl("rollout", "restart", `deployment/${DEPLOYMENT}`);
      const [fresh] = await pods.settled();
      const resolve = `require("dns").lookup("postgres.postgres.svc", (e) => console.log(e?.code ?? "found"))`;
      expect((await pods.evaluate(fresh?.metadata.name ?? "", "reconciler", resolve)).trim()).not.toBe("found");
      // What needs nobody but the API server and the database.
      await tenant.apply("grace", { suspend: true });
      await tenant.says("grace", "Ready", "False", "Suspended");
    } finally {
      await patch(stored.data);
      await kubectl(pods.env, [...dns, "--replicas=1"]);
      await kubectl(pods.env, ["rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s"]);
      await pods.kubectl("rollout", "restart", `deployment/${DEPLOYMENT}`);
      await rolledOut(pods.env);
    }
  });
});
