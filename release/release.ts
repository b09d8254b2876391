/** Makes a release: its files in one folder, its image, charts and manifests in a registry, and signatures of all. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../stack/paths.ts";
import { run } from "../stack/process.ts";
import { chartFolders, chartUpload, manifestsUpload, type ReleaseFacts } from "./artifacts.ts";
import { CHECKSUMS, CHECKSUMS_SIGNATURE, writeChecksums } from "./checksums.ts";
import { installManifest } from "./install.ts";
import { buildPackage } from "./npm.ts";
import { provenance } from "./provenance.ts";
import { type Artifact, writeRecord } from "./record.ts";
import type { Registry } from "./registry.ts";
import { imageBOM, npmBOM } from "./sbom.ts";
import type { Signer } from "./signatures.ts";

export const IMAGE = "unified-rbac";
export const IMAGE_BOM = "image.cdx.json";

export interface ReleaseDeps {
  readonly registry: Registry;
  readonly signer: Signer;
  readonly syft: string;
  readonly kubectl: string;
  readonly log: (line: string) => void;
}

export interface ReleaseInput extends ReleaseFacts {
  /** An OCI layout with the image: a folder or a tar file. */
  readonly layout: string;
  /** Folders of the npm packages that are bundled into the image. */
  readonly bundled: readonly string[];
  /** The folder for the files. It is emptied first. */
  readonly directory: string;
  readonly repository?: string | undefined;
  readonly builder: string;
}

/** Throws at the first thing that fails. Running it again with the same sources pushes the same digests. */
export async function makeRelease(deps: ReleaseDeps, input: ReleaseInput): Promise<void> {
  const { directory, version, commit, epochSeconds } = input;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), "unified-rbac-release-"));
  try {
    const facts: ReleaseFacts = { version, commit, epochSeconds };
    const artifacts = await push(deps, input, facts, scratch);
    await writeFiles(deps, input, artifacts, scratch);
    await attestAll(deps, input, artifacts, scratch);
    writeRecord(directory, { version, commit, artifacts: [...artifacts] });
    writeChecksums(directory);
    await deps.signer.signFile(join(directory, CHECKSUMS), join(directory, CHECKSUMS_SIGNATURE));
    deps.log(`signed ${CHECKSUMS} of ${readdirSync(directory).length - 2} files`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function push(
  { registry, log }: ReleaseDeps,
  { layout }: ReleaseInput,
  facts: ReleaseFacts,
  scratch: string,
): Promise<Artifact[]> {
  const tag = facts.version;
  const digest = await registry.pushLayout(layout, IMAGE, tag);
  const artifacts: Artifact[] = [{ kind: "image", repository: IMAGE, tag, digest }];
  const image = { repository: registry.at(IMAGE, tag).slice(0, -tag.length - 1), digest };
  const uploads = [{ kind: "manifests" as const, upload: await manifestsUpload(facts, scratch) }];
  const charts = await Promise.all(chartFolders().map((source) => chartUpload(source, image, facts, scratch)));
  for (const { kind, upload } of [...uploads, ...charts.map((chart) => ({ kind: "chart" as const, upload: chart }))]) {
    const { repository } = upload;
    artifacts.push({ kind, repository, tag: upload.tag, digest: await registry.push(upload) });
  }
  for (const each of artifacts) log(`pushed ${registry.at(each.repository, each.tag)}@${each.digest}`);
  return artifacts;
}

async function writeFiles(
  { registry, syft, kubectl }: ReleaseDeps,
  input: ReleaseInput,
  artifacts: readonly Artifact[],
  scratch: string,
): Promise<void> {
  const { directory, version, epochSeconds, layout } = input;
  const write = (name: string, content: unknown): void =>
    writeFileSync(
      join(directory, name),
      typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`,
    );

  const home = join(scratch, "npm");
  const { packages } = await buildPackage(version, home);
  const packed = await run({
    file: "npm",
    args: ["pack", "--silent", "--pack-destination", scratch, home],
    cwd: scratch,
  });
  renameSync(join(scratch, packed.trim()), join(directory, `unified-rbac-npm-${version}.tgz`));
  write("npm.cdx.json", await npmBOM({ version, packages, epochSeconds }));
  write(IMAGE_BOM, await imageBOM({ syft, layout, version, packages: input.bundled, epochSeconds }));

  const digest = artifacts.find(({ kind }) => kind === "image")?.digest ?? "";
  const repository = registry.at(IMAGE, version).slice(0, -version.length - 1);
  write("install.yaml", await installManifest({ kubectl }, { repository, digest }));
  for (const schema of readdirSync(join(projectRoot, "schemas")))
    copyFileSync(join(projectRoot, "schemas", schema), join(directory, schema));
}

async function attestAll(
  { registry, signer, log }: ReleaseDeps,
  input: ReleaseInput,
  artifacts: readonly Artifact[],
  scratch: string,
): Promise<void> {
  const origin = join(scratch, "provenance.json");
  writeFileSync(origin, JSON.stringify(provenance(input)));
  for (const { kind, repository, digest } of artifacts) {
    const reference = registry.at(repository, digest);
    await signer.sign(reference);
    await signer.attest(reference, "slsaprovenance1", origin);
    if (kind === "image") await signer.attest(reference, "cyclonedx", join(input.directory, IMAGE_BOM));
    log(`signed and attested ${reference}`);
  }
}
