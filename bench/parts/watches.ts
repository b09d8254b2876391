/** A thousand tenant namespaces watched: connections, and memory here and in the API server. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import { applyText, kubectl } from "../../stack/kube.ts";
import { startChild } from "../children.ts";
import type { Environment, Place } from "../environment.ts";
import { connectionsTo, residentMiB } from "../machine.ts";
import type { Part } from "../part.ts";
import { toYAML } from "../../src/lib/yaml.ts";

/** What one Tenant may have. */
const NAMESPACES_A_TENANT = 60;
/** Until V8 has collected what a start left behind, which it does after some ten idle seconds. */
const SETTLE_MS = 20_000;
/** For the API server to released of watches that were closed. */
const LET_GO_MS = 6_000;
const SECRETS_EVERYWHERE = "bench-secrets";
const opened = z.object({ open: z.number() });

interface Cost {
  readonly connections: number;
  readonly here: number;
  readonly apiserver: number;
}

export const watches: Part = {
  name: "watches",
  title: "Tenant namespaces watched",
  async prepare(environment) {
    const place = await environment.place("watches");
    // Its definitions and its namespace are there from here on.
    await (await place.start()).stop();
    const namespaces = Array.from({ length: environment.sizes.namespaces }, (_, n) => `bench-watched-${n}`);
    environment.tell(`making ${namespaces.length} namespaces`);
    await applyText(environment.env, namespaces.map((name) => toYAML(namespace(name))).join("---\n"));
    await applyText(environment.env, secretsEverywhere());

    return {
      async run() {
        const floor = await floorCost(environment, namespaces);
        const ours = await ourCost(environment, place, namespaces);
        const n = namespaces.length;
        return [
          {
            what: `${n} namespaces: connections`,
            unit: "count",
            ours: ours.connections,
            floor: floor.connections,
            goal: { of: "ratio", atMost: 1.5 },
          },
          {
            what: `${n} namespaces: our memory, added`,
            unit: "MiB",
            ours: ours.here,
            floor: floor.here,
            goal: { of: "ratio", atMost: 1.5 },
          },
          {
            what: `${n} namespaces: the API server's memory in use, added`,
            unit: "MiB",
            ours: ours.apiserver,
            floor: floor.apiserver,
            goal: { of: "ratio", atMost: 1.5 },
          },
        ];
      },
      async close() {
        await kubectl(environment.env, ["delete", "clusterrole,clusterrolebinding", SECRETS_EVERYWHERE]);
        await place.close();
      },
    };
  },
};

const IN_USE = /^go_memstats_(?:heap_alloc|stack_inuse)_bytes (\S+)$/gm;

/**
 * What the API server has in use, objects and stacks, after a collection. Its resident memory says little: what a thousand
 * watches take lies within what its own start has left behind, or does not, from one time to the next.
 */
async function apiserverMiB({ api }: Environment): Promise<number> {
  // Twice: what is pooled outlives one.
  for (let n = 0; n < 2; n += 1) await api.text("/debug/pprof/heap?gc=1&debug=1");
  const found = [...(await api.text("/metrics")).matchAll(IN_USE)];
  if (found.length !== 2) throw new Error("the API server does not tell what memory it has in use");
  return found.reduce((sum, [, bytes]) => sum + Number(bytes), 0) / 2 ** 20;
}

const portOf = ({ env }: Environment): number => Number(new URL(env.KUBE_API_URL).port);

async function floorCost(environment: Environment, namespaces: readonly string[]): Promise<Cost> {
  await untilClosed(environment);
  const labelSelector = `${LABEL_MANAGED_BY}=${FIELD_MANAGER}`;
  const child = startChild("floors/watches.ts", { kubeconfig: environment.env.KUBECONFIG, namespaces, labelSelector });
  try {
    await child.says(opened);
    await child.says(opened);
    const before = { here: residentMiB(child.pid), apiserver: await apiserverMiB(environment) };
    await child.says(opened);
    await sleep(SETTLE_MS);
    return {
      connections: connectionsTo(child.pid, portOf(environment)),
      here: residentMiB(child.pid) - before.here,
      apiserver: (await apiserverMiB(environment)) - before.apiserver,
    };
  } finally {
    await child.stop();
  }
}

/** Two starts, with few namespaces and with all: right after a start a process holds what the start left behind. */
async function ourCost(environment: Environment, place: Place, namespaces: readonly string[]): Promise<Cost> {
  try {
    await untilClosed(environment);
    const first = await place.tenant();
    const before = await reconcilerAt(environment, place, 1);
    for (let from = 0; from < namespaces.length; from += NAMESPACES_A_TENANT) {
      await place.tenant({ namespaces: namespaces.slice(from, from + NAMESPACES_A_TENANT), realm: first.realm });
    }
    const after = await reconcilerAt(environment, place, 1 + namespaces.length);
    return {
      connections: after.connections,
      here: after.here - before.here,
      apiserver: after.apiserver - before.apiserver,
    };
  } finally {
    await environment.clear();
  }
}

/** What a reconciler costs that was started now and watches so many namespaces. */
async function reconcilerAt(environment: Environment, place: Place, watched: number): Promise<Cost> {
  const product = await place.start({}, { roles: ["reconciler"] });
  try {
    await untilWatched(environment, watched);
    await sleep(SETTLE_MS);
    const { pid } = product.process("reconciler");
    return {
      connections: connectionsTo(pid, portOf(environment)),
      here: residentMiB(pid),
      apiserver: await apiserverMiB(environment),
    };
  } finally {
    await product.stop();
  }
}

const WATCHES =
  /^apiserver_longrunning_requests\{[^}]*resource="secrets"[^}]*scope="namespace"[^}]*verb="WATCH"[^}]*\} (\d+)/gm;

async function openWatches({ api }: Environment): Promise<number> {
  return [...(await api.text("/metrics")).matchAll(WATCHES)].reduce((sum, [, n]) => sum + Number(n), 0);
}

async function untilWatched(environment: Environment, wanted: number): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    if ((await openWatches(environment)) >= wanted) return;
    await sleep(500);
  }
  throw new Error(`the reconciler does not watch ${wanted} namespaces`);
}

/** What was open before is closed, and the API server has had time to released of it. */
async function untilClosed(environment: Environment): Promise<void> {
  for (let tries = 0; (await openWatches(environment)) > 0; tries += 1) {
    if (tries === 120) throw new Error("watches of an earlier measurement stay open");
    await sleep(500);
  }
  await sleep(LET_GO_MS);
}

function namespace(name: string): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name } };
}

/** In the place of a Role in each namespace, which changes nothing of what is watched. */
function secretsEverywhere(): string {
  const name = SECRETS_EVERYWHERE;
  const apiGroup = "rbac.authorization.k8s.io";
  const verbs = ["get", "list", "watch", "create", "update", "delete"];
  const rules = [{ apiGroups: [""], resources: ["secrets"], verbs }];
  const subjects = [{ kind: "ServiceAccount", name: "unified-rbac", namespace: "unified-rbac-system" }];
  return [
    { apiVersion: `${apiGroup}/v1`, kind: "ClusterRole", metadata: { name }, rules },
    {
      apiVersion: `${apiGroup}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup, kind: "ClusterRole", name },
      subjects,
    },
  ]
    .map((object) => toYAML(object))
    .join("---\n");
}
