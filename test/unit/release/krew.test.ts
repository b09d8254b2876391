import { expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { krewManifest } from "../../../release/krew.ts";

/** What Krew demands of a manifest. */
const manifest = z.strictObject({
  apiVersion: z.literal("krew.googlecontainertools.github.com/v1alpha2"),
  kind: z.literal("Plugin"),
  metadata: z.strictObject({ name: z.string().regex(/^[\w-]+$/) }),
  spec: z.strictObject({
    version: z.string().regex(/^v\d+\.\d+\.\d+$/),
    shortDescription: z.string().max(50),
    description: z.string(),
    platforms: z.array(
      z.strictObject({
        selector: z.strictObject({
          matchLabels: z.strictObject({ os: z.enum(["linux", "darwin"]), arch: z.enum(["amd64", "arm64"]) }),
        }),
        uri: z.url().endsWith(".tar.gz"),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        files: z.array(z.strictObject({ from: z.string(), to: z.literal(".") })),
        bin: z.literal("kubectl-tenantuser"),
      }),
    ),
  }),
});

it("the manifest for Krew is well formed, one platform for each archive, in Krew's words", () => {
  const archives = (["linux-x64", "linux-arm64"] as const).map((platform) => ({
    platform,
    uri: `https://git.example.com/releases/v1.2.3/unified-rbac-1.2.3-${platform}.tar.gz`,
    sha256: "a".repeat(64),
  }));
  const { metadata, spec } = manifest.parse(parse(krewManifest("1.2.3", archives)));
  expect(metadata.name).toBe("tenantuser");
  expect(spec.version).toBe("v1.2.3");
  expect(spec.platforms.map(({ selector, uri }) => [selector.matchLabels, uri])).toEqual([
    [{ os: "linux", arch: "amd64" }, archives[0]?.uri],
    [{ os: "linux", arch: "arm64" }, archives[1]?.uri],
  ]);
  expect(spec.platforms.every(({ bin, files }) => files.some(({ from }) => from === bin))).toBe(true);
});
