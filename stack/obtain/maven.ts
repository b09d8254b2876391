import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { run } from "../process.ts";
import { ask } from "./prerequisites.ts";

export interface Artifact {
  readonly group: string;
  readonly artifact: string;
  readonly version: string;
  readonly extension: string;
  readonly sha256: string;
}

const mavenCentral = "https://repo1.maven.org/maven2";
const getGoal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get";

const pathInRepository = ({ group, artifact, version, extension }: Artifact): string =>
  `${group.replaceAll(".", "/")}/${artifact}/${version}/${artifact}-${version}.${extension}`;

/**
 * A file with the artifact's bytes. From Maven's own cache, through `mvn` where
 * it is installed (it knows the user's mirrors and proxies), else straight from the
 * repository: Maven is nothing a contributor must have. Whatever the way, the
 * committed checksum decides.
 */
export async function fetchArtifact(
  artifact: Artifact,
  draft: string,
  detail: (text: string) => void,
): Promise<string> {
  const local = join(homedir(), ".m2", "repository", pathInRepository(artifact));
  if (existsSync(local) && (await sha256(local)) === artifact.sha256) return local;
  const repository = process.env["MAVEN_REPOSITORY_URL"];
  if (!repository && ask("mvn", ["--version"]) !== undefined) {
    detail("fetching with Maven");
    const { group, artifact: name, version, extension } = artifact;
    const coordinates = `-Dartifact=${group}:${name}:${version}:${extension}`;
    // A repository of its own: where Maven keeps its cache is a matter of settings, and not of HOME.
    const cache = join(draft, "maven");
    const args = ["-q", "-B", getGoal, coordinates, "-Dtransitive=false", `-Dmaven.repo.local=${cache}`];
    await run({ file: "mvn", args });
    return verified(join(cache, pathInRepository(artifact)), artifact);
  }
  const target = join(draft, `${artifact.artifact}.${artifact.extension}`);
  await download(`${repository ?? mavenCentral}/${pathInRepository(artifact)}`, target, detail);
  return verified(target, artifact);
}

async function download(url: string, target: string, detail: (text: string) => void): Promise<void> {
  const answer = await fetch(url);
  if (!answer.ok || !answer.body) {
    throw new Error(`${url} answered ${answer.status}: set MAVEN_REPOSITORY_URL to a repository that you can reach.`);
  }
  const total = Number(answer.headers.get("content-length") ?? 0);
  let got = 0;
  const count = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      got += chunk.length;
      detail(`fetching ${(got / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`);
      yield chunk;
    }
  };
  await pipeline(Readable.fromWeb(answer.body), count, createWriteStream(target));
}

async function verified(file: string, artifact: Artifact): Promise<string> {
  if ((await sha256(file)) === artifact.sha256) return file;
  throw new Error(
    `${file} is not the ${artifact.artifact} ${artifact.version} that stack/lock/keycloak names: its checksum differs.`,
  );
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
