/** A commit with one person and one ConfigMap, pushed: Flux's own time is that of the ConfigMap, ours is what comes after. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";

import { API_VERSION } from "../../src/api/meta.ts";
import { collectionPath } from "../../src/kube/objects.ts";
import { applyText } from "../../stack/kube.ts";
import { onboardTenant } from "../../stack/onboard.ts";
import { spread } from "../figures.ts";
import type { Part } from "../part.ts";
import { isReady, sightsOf } from "../ready.ts";
import { toYAML } from "../../src/lib/yaml.ts";

export const push: Part = {
  name: "push",
  title: "Push to Ready through Gitea and Flux",
  async prepare(environment) {
    const { env, kube } = environment;
    const place = await environment.place("push");
    await place.start();
    const id = `bp-${randomBytes(3).toString("hex")}`;
    const tenant = await onboardTenant(env, { id, values: { INTERVAL: "10m" }, realm: { loginByMail: true } });
    await applyText(env, mayConfigMaps(tenant.namespace));
    await tenant.ready();
    const folder = mkdtempSync(join(tmpdir(), "unified-rbac-bench-"));
    const clone = await tenant.clone(join(folder, "clone"));
    const stop = new AbortController();
    const anything = (): boolean => true;
    const configMapSeen = sightsOf(kube, `/api/v1/namespaces/${tenant.namespace}/configmaps`, anything, stop.signal);
    const readySeen = sightsOf(kube, collectionPath("TenantUser", tenant.namespace), isReady, stop.signal);

    let turn = 0;
    const once = async (): Promise<{ flux: number; ours: number }> => {
      const name = `p${(turn += 1)}`;
      const user = {
        apiVersion: API_VERSION,
        kind: "TenantUser",
        metadata: { name },
        spec: { email: `${name}@bench.example` },
      };
      const configMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { turn: name } };
      clone.write(`users/${name}.yaml`, `${toYAML(user)}---\n${toYAML(configMap)}`);
      await clone.push(`Add ${name}`);
      const pushedAt = Date.now();
      await tenant.pushed(kube);
      const [made, ready] = await Promise.all([configMapSeen(name), readySeen(name)]);
      return { flux: (made - pushedAt) / 1000, ours: (ready - made) / 1000 };
    };
    await once();

    return {
      async run() {
        const times = [];
        for (let n = 0; n < environment.sizes.pushes; n += 1) times.push(await once());
        return [
          {
            what: "push to Ready: what comes after Flux",
            unit: "s",
            ours: spread(times.map(({ ours }) => ours)).median,
            goal: { of: "ours", atMost: 0.3 },
          },
          {
            what: "push to Ready, beside Flux's own time for a ConfigMap",
            unit: "s",
            ours: spread(times.map(({ flux, ours }) => flux + ours)).median,
            floor: spread(times.map(({ flux }) => flux)).median,
          },
        ];
      },
      async close() {
        stop.abort();
        rmSync(folder, { recursive: true, force: true });
        await environment.kube.patch(
          `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${tenant.namespace}/kustomizations/users`,
          { spec: { suspend: true } },
          "bench",
        );
        await place.close();
      },
    };
  },
};

/** A tenant's Flux may apply people and nothing else; here also the thing to compare with. */
function mayConfigMaps(namespace: string): string {
  const name = "bench-configmaps";
  const apiGroup = "rbac.authorization.k8s.io";
  const rules = [{ apiGroups: [""], resources: ["configmaps"], verbs: ["*"] }];
  const subjects = [{ kind: "ServiceAccount", name: "flux-tenant", namespace }];
  return [
    { apiVersion: `${apiGroup}/v1`, kind: "Role", metadata: { name, namespace }, rules },
    {
      apiVersion: `${apiGroup}/v1`,
      kind: "RoleBinding",
      metadata: { name, namespace },
      roleRef: { apiGroup, kind: "Role", name },
      subjects,
    },
  ]
    .map((object) => toYAML(object))
    .join("---\n");
}
