import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readIfThere } from "../files.ts";
import { keycloakCommand, linkHome } from "../keycloak-home.ts";
import { lockDir } from "../paths.ts";
import { patience } from "../patience.ts";
import { choosePorts } from "../ports.ts";
import { launch, run, terminate } from "../process.ts";
import { httpOk, waitFor } from "../probe.ts";
import { isAlive } from "../identity.ts";
import { cached, cacheKey } from "./cache.ts";
import { fetchArtifact, type Artifact } from "./maven.ts";
import { ask, javaBinary } from "./prerequisites.ts";
import { unpackZip } from "./zip.ts";

export interface Keycloak {
  readonly java: string;
  /** The unpacked and built distribution; never written to. */
  readonly home: string;
  /** A database with schema and master realm, and the password of its administrator. */
  readonly template: string;
  readonly templatePassword: string;
}

/** Fixed when Keycloak is built, so that a start has nothing to work out. One node, no clustering, a file as database. */
const buildOptions = ["--db=dev-file", "--cache=local", "--health-enabled=false", "--metrics-enabled=false"];

const readLock = (): Artifact => JSON.parse(readFileSync(join(lockDir("keycloak"), "lock.json"), "utf8")) as Artifact;

/** The Java is part of it: Keycloak's build and the copied database are made by the one that will run them. */
export const keycloakCacheKey = (): string =>
  cacheKey("keycloak", {
    artifact: JSON.stringify(readLock()),
    options: buildOptions.join(" "),
    java: ask(javaBinary(), ["-version"]) ?? "",
    recipe: "1",
  });

export async function obtainKeycloak(detail: (text: string) => void): Promise<Keycloak> {
  const artifact = readLock();
  const java = javaBinary();
  const key = keycloakCacheKey();
  const entry = await cached(key, detail, (draft) => build(artifact, java, draft, detail));
  return open(entry, java);
}

const open = (entry: string, java: string): Keycloak => ({
  java,
  home: join(entry, "home"),
  template: join(entry, "template"),
  templatePassword: (readIfThere(join(entry, "template-password")) ?? "").trim(),
});

async function build(artifact: Artifact, java: string, draft: string, detail: (text: string) => void): Promise<void> {
  detail("fetching");
  const archive = await fetchArtifact(artifact, draft, detail);
  detail("unpacking");
  const home = join(draft, "home");
  mkdirSync(home);
  await unpackZip(archive, home);
  if (archive.startsWith(draft)) rmSync(archive);
  // And what Maven fetched on the way.
  rmSync(join(draft, "maven"), { recursive: true, force: true });
  detail("building");
  // The script starts `java` by itself; JAVA makes it the one that was checked.
  await run({ file: join(home, "bin", "kc.sh"), args: ["build", ...buildOptions], env: { JAVA: java } });
  detail("preparing its database");
  await makeTemplate(draft, java);
}

/**
 * Creating the schema takes Keycloak longer than all the rest of a start, so
 * it is done once; a new stack begins with a copy.
 */
async function makeTemplate(draft: string, java: string): Promise<void> {
  const password = randomBytes(24).toString("hex");
  writeFileSync(join(draft, "template-password"), password, { mode: 0o600 });
  const scratch = join(draft, "scratch");
  linkHome(join(draft, "home"), scratch);
  const port = (await choosePorts({}, new Set())).keycloak;
  const log = join(draft, "template.log");
  const command = keycloakCommand({ java, home: scratch, port, adminPassword: password });
  const running = await launch(command, log, scratch);
  try {
    const started = await waitFor(
      () => httpOk(`http://127.0.0.1:${port}/realms/master`),
      () => isAlive(running),
      patience(300_000),
    );
    if (!started) throw new Error(`Keycloak did not start to prepare its database:\n${readIfThere(log) ?? ""}`);
  } finally {
    await terminate(running, "SIGTERM");
  }
  cpSync(join(scratch, "data", "h2"), join(draft, "template"), { recursive: true });
  rmSync(scratch, { recursive: true });
}
