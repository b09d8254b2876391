/** `make package`, `make executables`, `make release` and `make verify-release`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { obtainKubectl, obtainReleaseProgram } from "../stack/obtain/release.ts";
import { releaseArguments, UsageError, verifyArguments } from "./arguments.ts";
import { bundledIntoImage, projectManifest } from "./bundle.ts";
import { buildExecutables } from "./executable.ts";
import { buildPackage, packageDirectory } from "./npm.ts";
import { projectRoot } from "../stack/paths.ts";
import { obstacles, readSourceState } from "./preflight.ts";
import { makeRegistry } from "./registry.ts";
import { makeRelease } from "./release.ts";
import { makeSigner, makeVerifier } from "./signatures.ts";
import { verifyRelease } from "./verify.ts";

const log = (line: string): void => console.log(line);

async function main([command = "", ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "package":
      log(`${packageDirectory}: ${(await buildPackage(projectManifest.version)).files.join(", ")}`);
      return 0;
    case "executables":
      await executables(args);
      return 0;
    case "release":
      return withScratch((folder) => release(args, folder));
    case "verify":
      return withScratch((folder) => verify(args, folder));
    default:
      throw new UsageError("There are: package, executables, release, verify.");
  }
}

/** Into dist-executables/. The one argument is where the archives can be downloaded. */
async function executables([downloadURL = ""]: readonly string[]): Promise<void> {
  if (!URL.canParse(downloadURL))
    throw new UsageError("URL is missing, as in URL=https://git.example.com/releases/download/v0.1.0.");
  const { version, commitTime } = await readSourceState();
  const directory = join(projectRoot, "dist-executables");
  const request = { version, downloadURL: downloadURL.replace(/\/+$/, ""), epochSeconds: commitTime, directory };
  await buildExecutables(request, log);
}

async function release(args: readonly string[], folder: string): Promise<number> {
  const { version, registry, directory, identity, layout } = releaseArguments(args);
  const state = await readSourceState();
  const found = obstacles(version, state);
  if (found.length > 0) throw new UsageError(found.join("\n"));
  const deps = {
    registry: makeRegistry({ oras: await obtainReleaseProgram("oras", log) }, registry),
    signer: makeSigner(
      { cosign: await obtainReleaseProgram("cosign", log), folder, plainHTTP: registry.plainHTTP },
      identity,
    ),
    syft: await obtainReleaseProgram("syft", log),
    kubectl: await obtainKubectl(log),
    log,
  };
  const { env } = process;
  await makeRelease(deps, {
    version,
    layout,
    directory,
    commit: state.commit,
    epochSeconds: state.commitTime,
    bundled: await bundledIntoImage(),
    // What GitHub and Gitea Actions say of the run.
    repository: env["GITHUB_SERVER_URL"] && `${env["GITHUB_SERVER_URL"]}/${env["GITHUB_REPOSITORY"] ?? ""}`,
    builder: env["GITHUB_RUN_ID"]
      ? `${env["GITHUB_SERVER_URL"] ?? ""}/${env["GITHUB_REPOSITORY"] ?? ""}/actions/runs/${env["GITHUB_RUN_ID"]}`
      : "urn:unified-rbac:by-hand",
  });
  log(`release ${version} is in ${directory} and at ${registry.path}`);
  return 0;
}

async function verify(args: readonly string[], folder: string): Promise<number> {
  const { version, registry, directory, expected } = verifyArguments(args);
  const problems = await verifyRelease(
    {
      registry: makeRegistry({ oras: await obtainReleaseProgram("oras", log) }, registry),
      verifier: makeVerifier(
        { cosign: await obtainReleaseProgram("cosign", log), folder, plainHTTP: registry.plainHTTP },
        expected,
      ),
      log,
    },
    { version, directory },
  );
  for (const each of problems) log(`REFUSED ${each}`);
  log(problems.length === 0 ? `release ${version} is what its maker signed` : `release ${version} is refused`);
  return problems.length === 0 ? 0 : 1;
}

async function withScratch(work: (folder: string) => Promise<number>): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-cosign-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
