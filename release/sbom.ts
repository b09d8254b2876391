/**
 * Software bills of materials (CycloneDX). A bundle has no node_modules that a scanner could read, so the npm packages in
 * it come from the bundler's list and the lock file; the rest of the image comes from syft.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { projectRoot } from "../stack/paths.ts";
import { run } from "../stack/process.ts";
import { sha256 } from "./checksums.ts";

const component = z.looseObject({ name: z.string(), version: z.string().optional(), "bom-ref": z.string() });
const dependency = z.looseObject({ ref: z.string(), dependsOn: z.array(z.string()).optional() });
const bom = z.looseObject({
  bomFormat: z.literal("CycloneDX"),
  specVersion: z.string(),
  metadata: z.looseObject({ component: component.optional() }),
  components: z.array(component),
  dependencies: z.array(dependency).optional(),
});
export type BOM = z.infer<typeof bom>;
type Component = z.infer<typeof component>;

/** The same content has the same number and time, whenever it is made. */
function settled(made: BOM, epochSeconds: number): BOM {
  const timestamp = new Date(epochSeconds * 1000).toISOString();
  const { serialNumber: _random, ...rest } = made;
  const content = { ...rest, metadata: { ...made.metadata, timestamp } };
  const hex = sha256(JSON.stringify(content));
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 3) | 8).toString(16);
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`];
  return { ...content, serialNumber: `urn:uuid:${[...uuid, hex.slice(20, 32)].join("-")}` };
}

const installed = z.object({ name: z.string(), version: z.string() });

/** What the lock file says of the packages in these folders (node_modules/...). Throws when it does not know one. */
async function lockedComponents(folders: readonly string[]): Promise<BOM> {
  // Not --omit=dev: npm then leaves out packages that a development tool needs too.
  const args = ["sbom", "--sbom-format=cyclonedx", "--package-lock-only"];
  const all = bom.parse(JSON.parse(await run({ file: "npm", args, cwd: projectRoot })));
  const wanted = new Set(
    folders.map((folder) => {
      const { name, version } = installed.parse(
        JSON.parse(readFileSync(join(projectRoot, folder, "package.json"), "utf8")),
      );
      return `${name}@${version}`;
    }),
  );
  const components = all.components.filter((each) => wanted.has(each["bom-ref"]));
  const known = new Set(components.map((each) => each["bom-ref"]));
  const unknown = [...wanted].filter((ref) => !known.has(ref));
  if (unknown.length > 0) throw new Error(`package-lock.json does not name ${unknown.join(", ")}`);
  return { ...all, components };
}

export interface BundledBOM {
  readonly version: string;
  /** Folders of the packages that the bundles contain. */
  readonly packages: readonly string[];
  readonly epochSeconds: number;
}

/** Of the npm package: what is bundled into its programs. */
export async function npmBOM({ version, packages, epochSeconds }: BundledBOM): Promise<BOM> {
  const { components, metadata, ...locked } = await lockedComponents(packages);
  const self = `unified-rbac@${version}`;
  const refs = components.map((each) => each["bom-ref"]);
  const edges = (locked.dependencies ?? [])
    .filter(({ ref }) => refs.includes(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.includes(each)) }));
  const root: Component = {
    "bom-ref": self,
    type: "application",
    name: "unified-rbac",
    version,
    purl: `pkg:npm/${self}`,
    licenses: [{ license: { id: "Apache-2.0" } }],
  };
  const dependencies = [{ ref: self, dependsOn: refs }, ...edges];
  return settled({ ...locked, metadata: { ...metadata, component: root }, components, dependencies }, epochSeconds);
}

export interface ImageBOM extends BundledBOM {
  readonly syft: string;
  /** An OCI layout: a folder or a tar file. */
  readonly layout: string;
}

/** Of the image: what syft finds in its layers, and the npm packages in its bundles. */
export async function imageBOM({ syft, layout, version, packages, epochSeconds }: ImageBOM): Promise<BOM> {
  const scheme = layout.endsWith(".tar") ? "oci-archive" : "oci-dir";
  const named = ["--source-name=unified-rbac", `--source-version=${version}`];
  const args = ["scan", "--quiet", ...named, "--output=cyclonedx-json", `${scheme}:${layout}`];
  const env = { SYFT_CHECK_FOR_APP_UPDATE: "false" };
  const found = bom.parse({ components: [], ...JSON.parse(await run({ file: syft, args, env })) });
  const there = new Set(found.components.map(({ name, version: its }) => `${name}@${its ?? ""}`));
  const bundled = (await lockedComponents(packages)).components.filter((each) => !there.has(each["bom-ref"]));
  return settled({ ...found, components: [...found.components, ...bundled] }, epochSeconds);
}
