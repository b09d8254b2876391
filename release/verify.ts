/** Verifies a release: the files in a folder, and what they say that the registry has. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import * as z from "zod";
import { CHECKSUMS, CHECKSUMS_SIGNATURE, checksumProblems } from "./checksums.ts";
import { type Artifact, type ReleaseRecord, readRecord } from "./record.ts";
import type { Registry } from "./registry.ts";
import { IMAGE_BOM } from "./release.ts";
import type { Verifier } from "./signatures.ts";

export interface VerifyDeps {
  readonly registry: Registry;
  readonly verifier: Verifier;
  readonly log: (line: string) => void;
}

export interface VerifyInput {
  readonly version: string;
  readonly directory: string;
}

const built = z.object({
  buildDefinition: z.object({
    externalParameters: z.object({ version: z.string() }),
    resolvedDependencies: z.array(z.object({ digest: z.object({ gitCommit: z.string() }) })),
  }),
});

/** One sentence for each thing that is wrong; none: the release is what its maker signed. */
export async function verifyRelease(deps: VerifyDeps, { version, directory }: VerifyInput): Promise<string[]> {
  const signed = await problem(`${CHECKSUMS} is not signed by the expected identity`, () =>
    deps.verifier.verifyFile(join(directory, CHECKSUMS), join(directory, CHECKSUMS_SIGNATURE)),
  );
  // What nobody signed is not read any further.
  if (signed.length > 0) return signed;
  const changed = checksumProblems(directory);
  if (changed.length > 0) return changed;
  const record = readRecord(directory);
  if (record.version !== version) return [`the files are those of ${record.version}, not of ${version}`];
  deps.log(`verified ${CHECKSUMS} and every file in it, built from commit ${record.commit}`);

  const problems: string[] = [];
  for (const artifact of record.artifacts) {
    const found = await artifactProblems(deps, artifact, record, directory);
    if (found.length === 0) deps.log(`verified ${deps.registry.at(artifact.repository, artifact.digest)}`);
    problems.push(...found);
  }
  return [...problems, ...imageProblems(record, directory)];
}

async function artifactProblems(
  { registry, verifier }: VerifyDeps,
  { kind, repository, tag, digest }: Artifact,
  record: ReleaseRecord,
  directory: string,
): Promise<string[]> {
  const reference = registry.at(repository, digest);
  const tagged = registry.at(repository, tag);
  return [
    ...(await problem(`${tagged} cannot be looked up`, async () => {
      const found = await registry.resolve(repository, tag);
      if (found !== digest) throw new Error(`it names ${found}, and the release pushed ${digest}`);
    })),
    ...(await problem(`${reference} cannot be read as it was pushed`, () => readAll(registry, repository, digest))),
    ...(await problem(`${reference} is not signed by the expected identity`, () => verifier.verify(reference))),
    ...(await problem(`${reference} has no provenance of this release`, async () => {
      const made = (await verifier.attested(reference, "slsaprovenance1")).map((each) => built.parse(each));
      const ours = made.filter(
        ({ buildDefinition: { externalParameters, resolvedDependencies } }) =>
          externalParameters.version === record.version &&
          resolvedDependencies.some((each) => each.digest.gitCommit === record.commit),
      );
      if (ours.length === 0) throw new Error(`it was attested of another version or commit than ${record.commit}`);
    })),
    ...(kind !== "image"
      ? []
      : await problem(`${reference} has no bill of materials of this release`, async () => {
          const ours: unknown = JSON.parse(readFileSync(join(directory, IMAGE_BOM), "utf8"));
          const attested = await verifier.attested(reference, "cyclonedx");
          if (!attested.some((each) => isDeepStrictEqual(each, ours)))
            throw new Error(`what was attested differs from ${IMAGE_BOM}`);
        })),
  ];
}

/** install.yaml runs what was verified, and nothing else under that name. */
function imageProblems({ artifacts }: ReleaseRecord, directory: string): string[] {
  const digest = artifacts.find(({ kind }) => kind === "image")?.digest ?? "";
  const images = Array.from(
    readFileSync(join(directory, "install.yaml"), "utf8").matchAll(/^ +(?:- )?image: (\S+)$/gm),
    ([, image = ""]) => image,
  );
  const others = images.filter((image) => !image.endsWith(`@${digest}`));
  if (images.length === 0) return ["install.yaml names no image"];
  return others.map((image) => `install.yaml names the image ${image}, and the release is ${digest}`);
}

async function readAll(registry: Registry, repository: string, digest: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-verify-"));
  try {
    await registry.read(repository, digest, join(folder, "layout"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function problem(sentence: string, check: () => Promise<void>): Promise<string[]> {
  try {
    await check();
    return [];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [`${sentence}: ${reason}`];
  }
}
