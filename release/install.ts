/** install.yaml: CRDs and service in one file for `kubectl apply`, with the image by its digest. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { projectRoot } from "../stack/paths.ts";
import { run } from "../stack/process.ts";

export interface InstallDeps {
  /** Any kubectl from 1.30 on: it contains kustomize. */
  readonly kubectl: string;
}

/** Throws with what kustomize said. */
export async function installManifest(
  { kubectl }: InstallDeps,
  image: { readonly repository: string; readonly digest: string },
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-install-"));
  try {
    const kustomization = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: [relative(folder, join(projectRoot, "manifests/overlays/default"))],
      images: [{ name: "unified-rbac", newName: image.repository, digest: image.digest }],
    };
    writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(kustomization));
    return await run({ file: kubectl, args: ["kustomize", folder] });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
