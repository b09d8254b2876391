/** Source, pages, manifests and examples use the field's words: none of these, which the project used before. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

const WRITTEN = ["src", "docs", "manifests", "flux", "examples", "certs", "stack/README.md", "README.md"];
const ALONE = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile"];
const TEXT = /(\.(ts|sql|md|yaml|yml)|Makefile|\.sourceignore)$/;

/** Each word, as a pattern between word boundaries, with the word to use. */
const WORDS: readonly (readonly [word: string, use: string])[] = [
  ["neighbou?rs?", "upstream, or dependency"],
  ["neighbou?rhood", "tenants"],
  ["debts?", "cleanup"],
  ["(is|are|was|were|still) owed", "pending"],
  ["heirs?", "successor"],
  ["(mends?|mended|mending)", "fix"],
  ["anew", "again"],
  ["(dear|dearer|dearest)", "expensive"],
  ["on wish", "optional"],
  ["(go|goes|going|went) on", "continues, or resumes"],
  ["(lets?|letting) go", "release"],
  ["namesakes?", "derived uuids"],
  ["newcomers?", "new users"],
  ["strangers?", "unmanaged users"],
  ["scouting", "reconnect probe"],
  ["hush(es|ed)?", "pause"],
  ["the books", "state store"],
  ["town", "fixture"],
  ["census", "inventory"],
  ["crowds?", "concurrency limit, or burst"],
  ["storms?", "chaos"],
  ["trouble", "faults"],
  ["ledger", "state store"],
  ["(seal|seals|sealed)", "signature"],
  ["lanes?", "queue, or concurrency"],
  ["in hand", "in flight"],
  ["whose turn", "who acts"],
  ["(his|her|their|your|our|its) turn", "who acts"],
  ["on paper", "estimate"],
  ["hardly meant", "probably wrong"],
];

/** Where a word stands for another reason, and why. */
const EXCEPTIONS: readonly { readonly file: RegExp; readonly line: RegExp; readonly because: string }[] = [
  {
    file: /^CHANGELOG\.md$/,
    line: /`(NeighbourUnavailable|DebtOwed)`|`kubectl tenantuser debts`|was `/,
    because: "says what was renamed",
  },
  { file: /^src\/bus\//, line: /\bsealed\b/, because: "JetStream's own setting" },
  { file: /^src\//, line: /\bturn\b/i, because: "a place in a queue" },
];

function filesOf(path: string): string[] {
  if (statSync(join(ROOT, path)).isFile()) return [path];
  return readdirSync(join(ROOT, path), { recursive: true, encoding: "utf8" })
    .map((name) => join(path, name))
    .filter((name) => TEXT.test(name) && statSync(join(ROOT, name)).isFile());
}

const files = [...WRITTEN, ...ALONE].flatMap(filesOf);

/** Hard-wrapped prose is one line for a phrase. Numbers of lines stay those of the file. */
function findings(file: string, word: string): string[] {
  const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
  const pattern = new RegExp(`\\b${word.replaceAll(" ", "\\s+(?:# )?")}\\b`, "giu");
  const text = lines.join("\n");
  return Array.from(text.matchAll(pattern), ({ index, 0: found }) => {
    const line = text.slice(0, index).split("\n").length;
    const isExcepted = EXCEPTIONS.some((each) => each.file.test(file) && each.line.test(lines[line - 1] ?? ""));
    return isExcepted ? "" : `${file}:${line}: ${found.replaceAll(/\s+/g, " ")}`;
  }).filter((each) => each !== "");
}

describe("what people read", () => {
  it("is found", () => {
    expect(files.length).toBeGreaterThan(60);
    expect(files).toContain("docs/architecture.md");
  });

  it.each(WORDS)("does not say %s", (word) => {
    expect(files.flatMap((file) => findings(file, word))).toEqual([]);
  });

  it.each(EXCEPTIONS)("has a reason for each exception: $because", ({ file, line }) => {
    const lines = files
      .filter((name) => file.test(name))
      .flatMap((name) => readFileSync(join(ROOT, name), "utf8").split("\n"));
    expect(lines.some((each) => line.test(each))).toBe(true);
  });
});
