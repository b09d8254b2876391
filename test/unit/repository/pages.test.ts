import { expect, it } from "vitest";
import { commandsOf, prints, runShell } from "../../support/pages.ts";

const block = (language: string, text: string) => ({ name: "", language, text, line: 1 });

it("a console block is commands, each with what it prints", () => {
  expect(commandsOf(block("console", "$ one \\\n    more\na\nb\n$ two\n"))).toEqual([
    { command: "one \\\n    more", printed: ["a", "b"] },
    { command: "two", printed: [] },
  ]);
  expect(commandsOf(block("sh", "a\nb\n"))).toEqual([{ command: "a\nb\n", printed: [] }]);
});

it("what is printed is compared line by line; dots stand for the rest of a line", () => {
  expect(prints("a 1s\nb\n", ["a ...", "b"])).toBe(true);
  expect(prints("a 1s\nb\n", ["a ..."])).toBe(false);
  expect(prints("c\n", ["a..."])).toBe(false);
  expect(prints("", [])).toBe(true);
});

it("a shell ends at the first command that fails, and gives what both streams said", async () => {
  const run = await runShell("echo a; echo b >&2; false\necho c", { cwd: "/", env: {} });
  expect(run).toEqual({ code: 1, output: "a\nb\n" });
});
