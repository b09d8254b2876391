/** What a release pushes beside the image: charts, as Helm reads them, and manifests, as Flux reads them. */
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parse, parseDocument } from "yaml";
import * as z from "zod";
import { projectRoot } from "../stack/paths.ts";
import { writeArchive } from "./archive.ts";
import type { Upload } from "./registry.ts";

/** What every artifact of a release shares. */
export interface ReleaseFacts {
  readonly version: string;
  readonly commit: string;
  readonly epochSeconds: number;
}

const annotationsOf = ({ version, commit, epochSeconds }: ReleaseFacts) => ({
  "org.opencontainers.image.created": new Date(epochSeconds * 1000).toISOString(),
  "org.opencontainers.image.revision": commit,
  "org.opencontainers.image.version": version,
});

/** The folders that Flux can apply: `flux push artifact` makes the same of them. */
const MANIFESTS = ["manifests", "flux/install"];

/** Writes what is to be pushed into `folder`. */
export async function manifestsUpload(facts: ReleaseFacts, folder: string): Promise<Upload> {
  const archive = join(folder, "manifests.tar.gz");
  await writeArchive({ from: projectRoot, members: MANIFESTS, to: archive, epochSeconds: facts.epochSeconds });
  const config = join(folder, "manifests-config.json");
  writeFileSync(config, "{}");
  return {
    repository: "manifests",
    // The tag in Git: flux/install asks for one or the other by the same name.
    tag: `v${facts.version}`,
    config: { mediaType: "application/vnd.cncf.flux.config.v1+json", file: config },
    layer: { mediaType: "application/vnd.cncf.flux.content.v1.tar+gzip", file: archive },
    annotations: annotationsOf(facts),
  };
}

/** Folders of the charts, relative to the project. */
export const chartFolders = (): string[] =>
  globSync("charts/*/Chart.yaml", { cwd: projectRoot }).map(dirname).toSorted();

const chart = z.looseObject({ name: z.string(), version: z.string() });

/** A chart as `helm package` and `helm push` make it, with the image that the release pushed as its default. */
export async function chartUpload(
  source: string,
  image: { readonly repository: string; readonly digest: string },
  facts: ReleaseFacts,
  folder: string,
): Promise<Upload> {
  const described = chart.parse(parse(readFileSync(join(projectRoot, source, "Chart.yaml"), "utf8")));
  const name = basename(source);
  if (described.name !== name || described.version !== facts.version)
    throw new Error(
      `${source} calls itself ${described.name} ${described.version}, and the release is ${facts.version}`,
    );
  const staging = join(folder, `staging-${name}`);
  mkdirSync(staging);
  cpSync(join(projectRoot, source), join(staging, name), { recursive: true });
  setImage(join(staging, name, "values.yaml"), image);
  const archive = join(folder, `${name}-${facts.version}.tgz`);
  await writeArchive({ from: staging, members: [name], to: archive, epochSeconds: facts.epochSeconds });
  const config = join(folder, `${name}-config.json`);
  writeFileSync(config, JSON.stringify(described));
  return {
    repository: `charts/${name}`,
    tag: facts.version,
    config: { mediaType: "application/vnd.cncf.helm.config.v1+json", file: config },
    layer: { mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", file: archive },
    annotations: annotationsOf(facts),
  };
}

/** A chart without an image (the CRDs) has no such values, and stays as it is. */
function setImage(file: string, image: { readonly repository: string; readonly digest: string }): void {
  const values = parseDocument(readFileSync(file, "utf8"));
  if (!values.hasIn(["image"])) return;
  values.setIn(["image", "repository"], image.repository);
  values.setIn(["image", "digest"], image.digest);
  writeFileSync(file, values.toString({ lineWidth: 0 }));
}
