/** A small image as an OCI layout: one layer with a few files, the least that a registry and a scanner accept. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Writes the layout to `folder`/layout, and gives its path. */
export function writeOCILayout(folder: string, files: Readonly<Record<string, string>>): string {
  const layout = join(folder, "layout");
  const root = join(folder, "rootfs");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const tar = join(folder, "layer.tar");
  execFileSync("tar", ["-C", root, "-cf", tar, "."]);

  const put = (mediaType: string, content: Buffer) => {
    const hex = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(layout, "blobs/sha256", hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  const layer = put("application/vnd.oci.image.layer.v1.tar", readFileSync(tar));
  const image = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [layer.digest] } };
  const config = put("application/vnd.oci.image.config.v1+json", json(image));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = put(mediaType, json({ schemaVersion: 2, mediaType, config, layers: [layer] }));
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  return layout;
}
