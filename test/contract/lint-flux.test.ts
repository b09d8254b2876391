/** Lint looks at the files and documents that Flux does, and refuses what Flux refuses a whole folder for. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { readDocuments } from "../../src/cli/lint/documents.ts";
import { filesOf, readText } from "../../src/cli/lint/files.ts";
import { lint } from "../../src/cli/lint/run.ts";
import { type FluxAnswer, fluxBuilds, obtainFluxBuild } from "../support/fluxBuild.ts";
import { userYAML } from "../support/lint.ts";

let program: string;
beforeAll(async () => {
  program = await obtainFluxBuild();
}, 900_000);

type Repository = Readonly<Record<string, string>>;
const LINK = "link to ";
const FOLDER = "users";

function made(files: Repository): string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "unified-rbac-flux-")));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, ".git"));
  mkdirSync(join(root, FOLDER));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (text.startsWith(LINK)) symlinkSync(join(root, text.slice(LINK.length)), join(root, path));
    else writeFileSync(join(root, path), text);
  }
  return root;
}

interface Ours {
  readonly refused: boolean;
  readonly why: readonly string[];
  /** kind and name of every object that would be applied. */
  readonly objects: readonly string[];
}

async function ours(root: string): Promise<Ours> {
  const folder = join(root, FOLDER);
  const { findings } = await lint([folder], {}, () => Promise.resolve(""));
  const errors = findings.filter(({ severity }) => severity === "error");
  const objects = filesOf([folder]).paths.flatMap((file) => readDocuments(file, readText(file)).manifests);
  return {
    refused: errors.length > 0,
    why: errors.map(({ file, message }) => `${file.slice(root.length)}: ${message}`),
    objects: objects
      .map(
        ({ value }) =>
          `${String(value["kind"])} ${String((value["metadata"] as { name?: unknown } | undefined)?.name)}`,
      )
      .toSorted(),
  };
}

async function both(repositories: readonly Repository[]): Promise<{ ours: Ours; flux: FluxAnswer }[]> {
  const roots = repositories.map(made);
  const all: Ours[] = [];
  for (const root of roots) all.push(await ours(root));
  // Last: it takes away what it leaves out.
  const theirs = fluxBuilds(
    program,
    roots.map((root) => ({ root, folder: FOLDER })),
  );
  return all.map((each, index) => ({ ours: each, flux: theirs[index] as FluxAnswer }));
}

const GOOD = { "users/ada.yaml": userYAML("ada") };
const config = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\n`;

describe("lint refuses what Flux refuses the whole folder for", () => {
  it.each<[string, Repository]>([
    ["a linter's settings", { "users/.yamllint.yaml": "extends: default\n" }],
    ["a chart's values", { "users/values.yaml": "image:\n  tag: v1\n" }],
    ["a list", { "users/names.yaml": "- ada\n- bob\n" }],
    ["a sentence", { "users/notes.yaml": "ada comes on monday\n" }],
    ["a number", { "users/n.yaml": "42\n" }],
    ["an object without a name", { "users/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n" }],
    ["an object without a kind", { "users/x.yaml": "apiVersion: v1\nmetadata: {name: x}\n" }],
    ["one of several documents", { "users/x.yaml": `${userYAML("eve")}---\njust a text\n` }],
    ["an object of others twice", { "users/x.yaml": config("x"), "users/y.yml": config("x") }],
    ["what lies in a folder with a dot", { "users/.archive/values.yaml": "a: 1\n" }],
    ["what lies below node_modules", { "users/node_modules/p/values.yaml": "a: 1\n" }],
    ["YAML that is none", { "users/x.yaml": "a: [\n" }],
  ])("%s", async (_what, files) => {
    const [found] = await both([{ ...GOOD, ...files }]);
    expect(found?.flux.error).not.toBe("");
    expect(found?.ours.refused).toBe(true);
  });
});

describe("lint looks at what Flux applies", () => {
  it.each<[string, Repository, readonly string[]]>([
    ["a person who was archived behind a dot", { "users/.archive/eve.yaml": userYAML("eve") }, ["ada", "eve"]],
    ["a file with a dot", { "users/.eve.yaml": userYAML("eve") }, ["ada", "eve"]],
    ["no other file name", { "users/eve.yaml.bak": "x", "users/README.md": "x", "users/a.json": "[]" }, ["ada"]],
    [
      "JSON, line ends of Windows and several documents",
      {
        "users/x.yml": `${JSON.stringify({ apiVersion: "catalyst.openova.io/v1alpha1", kind: "TenantUser", metadata: { name: "eve" }, spec: { email: "eve@acme.example" } })}\n---\n${userYAML("bob").replaceAll("\n", "\r\n")}`,
      },
      ["ada", "bob", "eve"],
    ],
    ["no empty documents and comments", { "users/x.yaml": "---\n# nothing\n---\n", "users/y.yaml": "" }, ["ada"]],
    [
      "the items of a list",
      {
        "users/x.yaml": `apiVersion: v1\nkind: List\nitems:\n- ${userYAML("eve").trimEnd().replaceAll("\n", "\n  ")}\n`,
      },
      ["ada", "eve"],
    ],
    [
      "nothing that is ignored",
      {
        ".sourceignore": "# no\n*.tmp.yaml\n/users/old/\n",
        "users/x.tmp.yaml": "a: 1\n",
        "users/old/values.yaml": "a: 1\n",
      },
      ["ada"],
    ],
    [
      "what is ignored and then not",
      { "users/.sourceignore": "*.yaml\n!ada.yaml\n", "users/values.yaml": "a: 1\n" },
      ["ada"],
    ],
    [
      "nothing of a CI",
      { "users/.github/x.yaml": "a: 1\n", "users/.drone.yml": "a: 1\n", "users/.sops.yaml": "a: 1\n" },
      ["ada"],
    ],
    ["no links", { "values.yaml": "a: 1\n", "users/link.yaml": `${LINK}values.yaml` }, ["ada"]],
    [
      "a folder with a kustomization as that says",
      {
        "users/b/kustomization.yaml": "resources: [bob.yaml]\n",
        "users/b/bob.yaml": userYAML("bob"),
        "users/b/values.yaml": "a: 1\n",
      },
      ["ada", "bob"],
    ],
  ])("%s", async (_what, files, people) => {
    const [found] = await both([{ ...GOOD, ...files }]);
    expect(found?.flux.error).toBe("");
    expect(found?.ours.why).toEqual([]);
    expect(found?.flux.objects.toSorted()).toEqual(people.map((name) => `TenantUser ${name}`));
    expect(found?.ours.objects).toEqual(found?.flux.objects.toSorted());
  });
});

describe("repositories of all kinds", () => {
  const segment = fc.constantFrom("a", ".b", "node_modules", "c.d", ".github", "old");
  const base = fc.constantFrom(
    "x.yaml",
    ".x.yaml",
    "y.yml",
    ".yamllint.yaml",
    "values.yaml",
    "n.txt",
    "z.yaml.bak",
    "x.YAML",
    ".sops.yaml",
    ".drone.yml",
  );
  const path = fc
    .tuple(fc.array(segment, { maxLength: 2 }), base)
    .map(([parts, name]) => [FOLDER, ...parts, name].join("/"));
  const name = fc.constantFrom("p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8");
  const document = fc.oneof(
    { weight: 6, arbitrary: name.map((each) => userYAML(each)) },
    { weight: 2, arbitrary: name.map((each) => config(each)) },
    { weight: 1, arbitrary: name.map((each) => userYAML(each).replaceAll("\n", "\r\n")) },
    {
      weight: 1,
      arbitrary: name.map(
        (each) => `apiVersion: v1\nkind: List\nitems:\n- ${config(each).trimEnd().replaceAll("\n", "\n  ")}\n`,
      ),
    },
    { weight: 2, arbitrary: fc.constantFrom("", "# nothing\n", "null\n", "\n\n") },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        "- a\n",
        "a sentence\n",
        "42\n",
        "a: 1\n",
        "kind: X\n",
        "apiVersion: v1\nkind: X\nmetadata: {}\n",
        "a: [\n",
        '"text"\n',
        "true\n",
      ),
    },
  );
  const text = fc.array(document, { minLength: 1, maxLength: 2 }).map((all) => all.join("---\n"));
  const pattern = fc.constantFrom(
    "*.yml",
    "old/",
    "/users/a",
    "**/.b/",
    "!x.yaml",
    "users/*/y.yml",
    ".*",
    "c.?",
    "[xy].yaml",
    "# x",
    "node_modules",
    "!users/old/x.yaml",
    "a/**",
  );
  const repository = fc
    .tuple(
      fc.dictionary(path, text, { minKeys: 1, maxKeys: 4 }),
      fc.option(fc.array(pattern, { minLength: 1, maxLength: 3 }), { nil: undefined }),
      fc.constantFrom(".sourceignore", "users/.sourceignore", "users/a/.sourceignore"),
    )
    .map(([files, patterns, ignore]): Repository => ({
      // One that is always there: of a folder without any object there is nothing to build.
      "users/always.yaml.txt": "",
      ...files,
      ...(patterns === undefined ? {} : { [ignore]: `${patterns.join("\n")}\n` }),
    }));

  it("get one verdict from lint and Flux, and are made of the same objects", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
    const all = fc.sample(repository, { numRuns: 120, seed });
    const results = await both(all);
    let [built, refused] = [0, 0];
    for (const [index, { ours: we, flux }] of results.entries()) {
      // A folder in which nothing is left is no mistake of anybody's files.
      if (/kustomization.yaml is empty/.test(flux.error)) continue;
      const objects = flux.error === "" ? flux.objects.toSorted() : we.objects;
      const about = { seed, files: all[index], error: flux.error, why: we.why };
      expect({ ...about, refused: we.refused, objects: we.objects }).toEqual({
        ...about,
        refused: flux.error !== "",
        objects,
      });
      if (flux.error === "") built += 1;
      else refused += 1;
    }
    expect(Math.min(built, refused)).toBeGreaterThan(12);
  }, 180_000);
});
