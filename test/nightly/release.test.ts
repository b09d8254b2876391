/** A whole release to a registry on this machine: built, signed with a key, verified; and everything that was changed refused. */
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { readArchive } from "../../release/archive.ts";
import { bundledIntoImage, projectManifest } from "../../release/bundle.ts";
import { type ReleaseRecord, readRecord } from "../../release/record.ts";
import { makeRegistry, type Registry } from "../../release/registry.ts";
import { makeRelease, type ReleaseInput } from "../../release/release.ts";
import { makeSigner, makeVerifier } from "../../release/signatures.ts";
import { verifyRelease } from "../../release/verify.ts";
import { obtainKubectl, obtainReleaseProgram, type ReleaseProgram } from "../../stack/obtain/release.ts";
import { run } from "../../stack/process.ts";
import { type ImageRegistry, startImageRegistry, textsBelow } from "../support/imageRegistry.ts";
import { writeOCILayout } from "../support/ociLayout.ts";

const { version } = projectManifest;
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const quiet = (): void => {};

let folder: string;
let kubectl: string;
let server: ImageRegistry;
let registry: Registry;
let input: ReleaseInput;
let record: ReleaseRecord;
const programs = {} as Record<ReleaseProgram, string>;
const inFolder = (...parts: string[]): string => join(folder, ...parts);
const digestOf = (repository: string): string =>
  record.artifacts.find((each) => each.repository === repository)?.digest ?? "";

const cosignDeps = () => ({ cosign: programs.cosign, folder, plainHTTP: true });
const release = (changes: Partial<ReleaseInput> = {}, key = "maker.key") =>
  makeRelease(
    {
      registry,
      signer: makeSigner(cosignDeps(), { kind: "key", file: inFolder(key) }),
      syft: programs.syft,
      kubectl,
      log: quiet,
    },
    { ...input, ...changes },
  );
const problemsIn = (directory: string, key = "maker.pub") =>
  verifyRelease(
    { registry, verifier: makeVerifier(cosignDeps(), { kind: "key", file: inFolder(key) }), log: quiet },
    { version, directory },
  );

/** The files of the release, to be changed. */
function copied(name: string): string {
  cpSync(inFolder("release"), inFolder(name), { recursive: true });
  return inFolder(name);
}

/** Changes what the registry stores, checks, and puts it back. */
async function withBlob(digest: string, content: string, check: () => Promise<void>): Promise<void> {
  const file = server.blobFile(digest);
  const before = readFileSync(file);
  writeFileSync(file, content);
  try {
    await check();
  } finally {
    writeFileSync(file, before);
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-release-"));
  for (const name of ["oras", "cosign", "syft", "registry"] as const)
    programs[name] = await obtainReleaseProgram(name, quiet);
  kubectl = await obtainKubectl(quiet);
  server = await startImageRegistry(programs.registry, folder);
  registry = makeRegistry({ oras: programs.oras }, { path: `${server.address}/platform`, plainHTTP: true });
  for (const name of ["maker", "other"]) {
    const args = ["generate-key-pair", "--output-key-prefix", inFolder(name)];
    await run({ file: programs.cosign, args, env: { COSIGN_PASSWORD: "" } });
  }
  process.env["COSIGN_PASSWORD"] = "";
  input = {
    version,
    commit: COMMIT,
    epochSeconds: 1_780_000_000,
    layout: writeOCILayout(inFolder("image"), {
      "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
      "var/lib/dpkg/status": "Package: base-files\nStatus: install ok installed\nVersion: 12.4\nArchitecture: amd64\n",
    }),
    bundled: await bundledIntoImage(),
    directory: inFolder("release"),
    builder: "urn:test",
  };
  await release();
  record = readRecord(inFolder("release"));
}, 3_600_000);

afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a release", () => {
  it("is what its maker signed", async () => {
    expect(await problemsIn(inFolder("release"))).toEqual([]);
  });

  it("pushes the same digests when it is made again", async () => {
    await release({ directory: inFolder("again") });
    expect(readRecord(inFolder("again"))).toEqual(record);
    const [first, second] = [textsBelow(inFolder("release")), textsBelow(inFolder("again"))];
    const differing = [...first].filter(([name, text]) => second.get(name) !== text).map(([name]) => name);
    // The signature alone holds randomness.
    expect(differing).toEqual(["SHA256SUMS.sigstore.json"]);
    expect(await problemsIn(inFolder("again"))).toEqual([]);
  });

  it("has manifests that Flux reads, from which kustomize makes the service", async () => {
    const digest = digestOf("manifests");
    mkdirSync(inFolder("pulled"));
    await registry.pull("manifests", digest, inFolder("pulled"));
    await readArchive(inFolder("pulled", "manifests.tar.gz"), inFolder("pulled"));
    const made = await run({ file: kubectl, args: ["kustomize", inFolder("pulled", "manifests/overlays/default")] });
    const kinds = parseAllDocuments(made).map((each) => (each.toJS() as { kind: string }).kind);
    expect(kinds).toEqual(expect.arrayContaining(["CustomResourceDefinition", "Deployment"]));
    const manifest = JSON.parse(readFileSync(server.blobFile(digest), "utf8")) as { config: { mediaType: string } };
    expect(manifest.config.mediaType).toBe("application/vnd.cncf.flux.config.v1+json");
  });

  it("lists what is in the image: packages of the system, and those in the bundles", () => {
    const text = readFileSync(inFolder("release", "image.cdx.json"), "utf8");
    const names = (JSON.parse(text) as { components: { name: string }[] }).components.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["base-files", "pg", "express", "zod"]));
    expect(names).not.toContain("vitest");
  });
});

describe("verification refuses", () => {
  it("a file that was changed", async () => {
    const directory = copied("changed");
    appendFileSync(join(directory, "install.yaml"), "# more\n");
    expect(await problemsIn(directory)).toEqual(["install.yaml is not the file that was signed"]);
  });

  it("checksums that were changed with it", async () => {
    const directory = copied("resummed");
    appendFileSync(join(directory, "SHA256SUMS"), `${"0".repeat(64)}  install.yaml\n`);
    expect(await problemsIn(directory)).toEqual([expect.stringMatching(/^SHA256SUMS is not signed/)]);
  });

  it("a release of somebody else", async () => {
    expect(await problemsIn(inFolder("release"), "other.pub")).toEqual([
      expect.stringMatching(/^SHA256SUMS is not signed/),
    ]);
  });

  it("another version under this one's name", async () => {
    expect(
      await verifyRelease(
        {
          registry,
          verifier: makeVerifier(cosignDeps(), { kind: "key", file: inFolder("maker.pub") }),
          log: quiet,
        },
        { version: "9.9.9", directory: inFolder("release") },
      ),
    ).toEqual([`the files are those of ${version}, not of 9.9.9`]);
  });

  it.each(["unified-rbac", "manifests"])("a byte of %s that the registry changed", async (repository) => {
    const manifest = JSON.parse(readFileSync(server.blobFile(digestOf(repository)), "utf8")) as {
      layers: [{ digest: string }];
    };
    const layer = manifest.layers[0].digest;
    const length = readFileSync(server.blobFile(layer)).length;
    await withBlob(layer, "x".repeat(length), async () => {
      expect(await problemsIn(inFolder("release"))).toEqual([
        expect.stringContaining(`${digestOf(repository)} cannot be read as it was pushed`),
      ]);
    });
    expect(await problemsIn(inFolder("release"))).toEqual([]);
  });

  it("a tag that was moved to another image, and one that nobody signed", async () => {
    const layout = writeOCILayout(inFolder("evil"), { "etc/os-release": "ID=evil\n" });
    const evil = await registry.pushLayout(layout, "unified-rbac", version);
    expect(await problemsIn(inFolder("release"))).toEqual([
      expect.stringContaining(`it names ${evil}, and the release pushed ${digestOf("unified-rbac")}`),
    ]);
    const verifier = makeVerifier(cosignDeps(), { kind: "key", file: inFolder("maker.pub") });
    await expect(verifier.verify(registry.at("unified-rbac", evil))).rejects.toThrow(/no signatures found/);
    expect(await registry.pushLayout(input.layout, "unified-rbac", version)).toBe(digestOf("unified-rbac"));
    expect(await problemsIn(inFolder("release"))).toEqual([]);
  });

  it("an image that another key signed and attested", async () => {
    const path = `${server.address}/elsewhere`;
    const other = makeRegistry({ oras: programs.oras }, { path, plainHTTP: true });
    const deps = {
      registry: other,
      syft: programs.syft,
      kubectl,
      log: quiet,
    };
    const signer = makeSigner(cosignDeps(), { kind: "key", file: inFolder("other.key") });
    await makeRelease({ ...deps, signer }, { ...input, directory: inFolder("theirs") });
    const verifier = makeVerifier(cosignDeps(), { kind: "key", file: inFolder("maker.pub") });
    const found = await verifyRelease(
      { registry: other, verifier, log: quiet },
      { version, directory: inFolder("release") },
    );
    const image = `elsewhere/unified-rbac@${digestOf("unified-rbac")}`;
    for (const refusal of ["is not signed by the expected identity", "has no provenance", "has no bill of materials"])
      expect(found).toContainEqual(expect.stringContaining(`${image} ${refusal}`));
  });
});
