/** Lint reads YAML as Flux does: what kustomize makes of a folder, made by a real kubectl, is what lint checks. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { SCALARS } from "../../src/cli/lint/scalars.ts";
import { findProgram } from "../../stack/obtain/found.ts";
import { goParts, obtainGoPart } from "../../stack/obtain/go.ts";

let kubectl: string;
beforeAll(async () => {
  const part = goParts.find(({ name }) => name === "kubernetes");
  const built =
    part && findProgram("kubectl") === undefined ? (await obtainGoPart(part, () => {})).programs : undefined;
  kubectl = findProgram("kubectl") ?? built?.get("kubectl") ?? "kubectl";
}, 900_000);

const HEAD = "apiVersion: catalyst.openova.io/v1alpha1\nkind: TenantUser\nmetadata: {name: words}\nspec:\n  words:\n";
const words = z.object({ spec: z.object({ words: z.array(z.unknown()) }) });

/** Each word stands there as it is, without quotes. */
function bothRead(all: readonly string[]): { ours: unknown; theirs: unknown } {
  const dir = mkdtempSync(join(tmpdir(), "unified-rbac-words-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const text = `${HEAD}${all.map((word) => `    - ${word}\n`).join("")}`;
  writeFileSync(join(dir, "words.yaml"), text);
  writeFileSync(join(dir, "kustomization.yaml"), "resources: [words.yaml]\n");
  const built = execFileSync(kubectl, ["kustomize", dir], { encoding: "utf8", maxBuffer: 8 << 20 });
  // What comes out is quoted where there could be a doubt, so every reader agrees about it.
  const theirs = words.parse(parse(built)).spec.words;
  const ours = words.parse(parse(text, { schema: "failsafe", customTags: SCALARS })).spec.words;
  return { ours, theirs };
}

const SPECIAL =
  "yes No on OFF y N true False TRUE ~ null NULL nUll tRue 12:30 190:20:30 2001-01-01 2001-02-30 1.2.3 7d 1h30m 0x_1F 0b_11 +0x1F -0o17";
const pieces = fc.constantFrom(...Array.from("01234567890171_.-+eExobaF"));
const numberish = fc.array(pieces, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(""));
const word = fc.oneof(
  { weight: 6, arbitrary: numberish },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...SPECIAL.split(" ")),
  },
);
/**
 * Left out: what YAML takes for something else than a word (a list, a document's end), what lies beyond all floats (the
 * reader here would call it infinite), and a sign within a number of another base.
 */
const isWord = (text: string): boolean =>
  !/^(-|---|\.\.\.)$|[eE][-+_]*[0-9_]*[1-9_][0-9_]{2}|^[-+]?0_*[bo]_*[-+]/.test(text);

it("words without quotes mean the same to lint and to kustomize", () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
  const all = fc.sample(word.filter(isWord), { numRuns: 3000, seed });
  const { ours, theirs } = bothRead(all);
  const say = (read: unknown) => (Array.isArray(read) ? read.map((value, n) => [all[n], value] as const) : []);
  expect(say(ours), `SEED=${seed}`).toEqual(say(theirs));
});
