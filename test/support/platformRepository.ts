/** The platform's own repository, and the Flux objects that apply it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "vitest";

import type { StackEnv } from "../../stack/index.ts";
import { type Clone, cloneRepository } from "../../stack/git.ts";
import { applyText, type Kube, kubectl } from "../../stack/kube.ts";
import { gitRepositoriesPath, kustomizationsPath, makeRepository } from "../../stack/onboard.ts";
import { soon } from "./soon.ts";
import { seenKustomization } from "./tenant.ts";
import { toYAML } from "../../src/lib/yaml.ts";

export interface PlatformRepository {
  readonly name: string;
  readonly url: string;
  readonly clone: Clone;
  /** Name of the Secret in flux-system with the login to it. */
  readonly secret: string;
  /** Pushes what the clone holds, tells Flux, and waits until the Kustomization of this name has applied it. */
  pushed(kustomization: string): Promise<void>;
  remove(): Promise<void>;
}

const NAMESPACE = "flux-system";
/** Who Flux is for the platform's own files; it comes with a real Flux, with the same rights. */
export const FLUX_ACCOUNT = "kustomize-controller";

/** `name`: of the repository, its GitRepository and its Secret in namespace flux-system. */
export async function makePlatformRepository(env: StackEnv, kube: Kube, name: string): Promise<PlatformRepository> {
  const git = await makeRepository(env, name);
  const folder = mkdtempSync(join(tmpdir(), `unified-rbac-${name}-`));
  const clone = await cloneRepository(git.remote, join(folder, "clone"));
  await kubectl(env, ["create", "namespace", NAMESPACE]).catch(() => "");
  const meta = { name, namespace: NAMESPACE };
  const documents = [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: FLUX_ACCOUNT, namespace: NAMESPACE } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "cluster-reconciler-flux-system" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: FLUX_ACCOUNT, namespace: NAMESPACE }],
    },
    { apiVersion: "v1", kind: "Secret", metadata: meta, stringData: git.reader },
    {
      apiVersion: "source.toolkit.fluxcd.io/v1",
      kind: "GitRepository",
      metadata: meta,
      spec: { url: git.remote.url, ref: { branch: "main" }, interval: "10m", secretRef: { name } },
    },
  ];
  await applyText(env, documents.map((each) => toYAML(each)).join("---\n"));
  return {
    name,
    url: git.remote.url,
    clone,
    secret: name,
    async pushed(kustomization) {
      const commit = await clone.push("Change");
      assert(commit !== undefined, "there was nothing to push");
      const requestedAt = { metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": commit } } };
      await kube.patch(`${gitRepositoriesPath(NAMESPACE)}/${name}`, requestedAt, "e2e");
      await soon(async () => {
        const path = `${kustomizationsPath(NAMESPACE)}/${kustomization}`;
        const { lastAppliedRevision, ready } = seenKustomization(await kube.get(path));
        assert(lastAppliedRevision.endsWith(commit), `Flux says: ${ready?.message ?? "nothing"}`);
      }, 120_000);
    },
    async remove() {
      rmSync(folder, { recursive: true, force: true });
      await kubectl(env, ["-n", NAMESPACE, "delete", "gitrepository,secret", name, "--ignore-not-found"]);
    },
  };
}
