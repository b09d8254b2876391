/** Webhook Pods that end as a platform ends them, while people are written: the API server passes over no review. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { DEPLOYMENT } from "../../stack/cluster/install.ts";
import { kubectl } from "../../stack/kube.ts";
import { NODE_NAME } from "../../stack/node/addresses.ts";
import { startLoad } from "../support/podLoad.ts";
import { openPods, type Pods } from "../support/pods.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let pods: Pods;
let tenant: TestTenant;

beforeAll(async () => {
  pods = await openPods();
  await pods.settled();
  tenant = await pods.tenant("graceful");
});
afterAll(() => pods?.close());

interface Admissions {
  readonly skipped: number;
  readonly unmutated: readonly string[];
  readonly unrecorded: number;
  /** So many writes that a moment without a webhook would have been met. */
  readonly enough: boolean;
}
const ALL_ADMITTED: Admissions = { skipped: 0, unmutated: [], unrecorded: 0, enough: true };

/** What became of the people who were written while `disturb` ran, and until both replicas were Ready again. */
async function underLoad(label: string, disturb: () => Promise<void>): Promise<Admissions> {
  const load = await startLoad(pods.api, tenant, label);
  try {
    await disturb();
    await pods.settled();
  } finally {
    await load.stop();
  }
  const { writes, people, unmutated, skipped } = await load.stop();
  await vi.waitUntil(async () => (await recorded(people)) === people.length, { timeout: 60_000 }).catch(() => {});
  return { skipped, unmutated, unrecorded: people.length - (await recorded(people)), enough: writes > 100 };
}

async function recorded(names: readonly string[]): Promise<number> {
  const { rows } = await pods.db.query<{ count: number }>(
    "select count(*)::int as count from user_provision_state where object_namespace = $1 and object_name = any($2)",
    [tenant.namespace, names],
  );
  return rows[0]?.count ?? 0;
}

const evict = async (name: string): Promise<number> => {
  const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace: OPERATOR_NAMESPACE } };
  const path = `/api/v1/namespaces/${OPERATOR_NAMESPACE}/pods/${name}/eviction`;
  return (await pods.api.send("POST", path, body)).status;
};

describe("no review is passed over", () => {
  it("during a rolling update", async () => {
    const seen = await underLoad("rollout", async () => {
      await pods.kubectl("rollout", "restart", `deployment/${DEPLOYMENT}`);
    });
    expect(seen).toEqual(ALL_ADMITTED);
  });

  it("when somebody deletes a Pod", async () => {
    const seen = await underLoad("deletion", async () => {
      const [first] = await pods.settled();
      await pods.kubectl("delete", "pod", first?.metadata.name ?? "");
    });
    expect(seen).toEqual(ALL_ADMITTED);
  });

  it("when a Pod is evicted; the second eviction is refused until the first Pod is replaced", async () => {
    const seen = await underLoad("eviction", async () => {
      const [first, second] = await pods.settled();
      expect(await evict(first?.metadata.name ?? "")).toBe(201);
      expect(await evict(second?.metadata.name ?? "")).toBe(429);
    });
    expect(seen).toEqual(ALL_ADMITTED);
  });

  it("when the node is drained: one Pod goes, the other stays as long as nothing replaces the first", async () => {
    const seen = await underLoad("drain", async () => {
      const [first, second] = await pods.settled();
      const names = [first?.metadata.name, second?.metadata.name];
      try {
        const drain = kubectl(pods.env, [
          "drain",
          NODE_NAME,
          `--pod-selector=app.kubernetes.io/name=${DEPLOYMENT}`,
          "--delete-emptydir-data",
          "--timeout=15s",
        ]);
        await expect(drain).rejects.toThrow(/disruption budget/);
        const left = (await pods.running()).filter(({ metadata }) => names.includes(metadata.name));
        expect(left.length).toBe(1);
      } finally {
        await kubectl(pods.env, ["uncordon", NODE_NAME]);
      }
      // The one that waited for a node is Ready.
      await soon(async () => expect((await pods.settled()).length).toBe(2), 120_000);
    });
    expect(seen).toEqual(ALL_ADMITTED);
  });
});
