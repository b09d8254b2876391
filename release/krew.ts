/** The manifest by which Krew installs the kubectl plugin: `kubectl krew install --manifest=krew-tenantuser.yaml`. */
import type { Platform } from "../stack/obtain/node.ts";
import { toYAML } from "../src/lib/yaml.ts";

export interface KrewArchive {
  readonly platform: Platform;
  readonly uri: string;
  readonly sha256: string;
}

/** Krew names processors as Go does. */
const ARCHITECTURE: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

export function krewManifest(version: string, archives: readonly KrewArchive[]): string {
  const platforms = archives.map(({ platform, uri, sha256 }) => {
    const [os = "", processor = ""] = platform.split("-");
    return {
      selector: { matchLabels: { os, arch: ARCHITECTURE[processor] ?? processor } },
      uri,
      sha256,
      files: ["kubectl-tenantuser", "LICENSE"].map((from) => ({ from, to: "." })),
      bin: "kubectl-tenantuser",
    };
  });
  return toYAML({
    apiVersion: "krew.googlecontainertools.github.com/v1alpha2",
    kind: "Plugin",
    metadata: { name: "tenantuser" },
    spec: {
      version: `v${version}`,
      shortDescription: "Show and repair the users of tenants",
      description: "Shows why a TenantUser of unified-rbac waits, and repairs it, with the rights of whoever runs it.",
      platforms,
    },
  });
}
