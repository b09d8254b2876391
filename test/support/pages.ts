/**
 * What stands in a page in a marked, fenced block is run, as written. The mark is a comment right before the fence:
 *
 *     <!-- run: lint -->
 *     ```sh
 *
 * In a `sh` block every line is run. In a `console` block lines that begin with `$ ` are, and what follows each is what it
 * prints; `...` at the end of a line stands for the rest of it.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export interface Block {
  /** Of the mark; "" where there is none. */
  readonly name: string;
  /** What the fence says: sh, console, yaml... */
  readonly language: string;
  readonly text: string;
  /** Of the fence, from 1. */
  readonly line: number;
}

export interface Run {
  readonly code: number;
  /** Both streams, as they came. */
  readonly output: string;
}

export interface Surroundings {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

const ROOT = join(import.meta.dirname, "../..");
const FENCE = /(?:^<!-- run: ([\w-]+) -->\n+)?^```(\w*)\n([\s\S]*?)^```$/gm;

/** Every fenced block of a page, by its path from the project's root. */
export function blocksOf(page: string): Block[] {
  const content = readFileSync(join(ROOT, page), "utf8");
  return Array.from(content.matchAll(FENCE), ([whole, name = "", language = "", inner = ""]) => {
    const from = content.indexOf(whole) + whole.indexOf("```");
    return { name, language, text: inner, line: content.slice(0, from).split("\n").length };
  });
}

/** The one block of this name. Throws when there is none, or another. */
export function blockOf(page: string, name: string): Block {
  const found = blocksOf(page).filter((block) => block.name === name);
  const [block] = found;
  if (block === undefined || found.length > 1) throw new Error(`${page} has ${found.length} blocks named ${name}`);
  return block;
}

export interface Command {
  readonly command: string;
  /** What the page says that it prints; a line that ends in `...` is only a beginning. */
  readonly printed: readonly string[];
}

/** The commands of a block. A line that ends in a backslash continues. */
export function commandsOf({ language, text: inner }: Block): Command[] {
  if (language === "sh") return [{ command: inner, printed: [] }];
  return inner
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [, command = "", rest = ""] = /^((?:.*\\\n)*.*)\n?([\s\S]*)$/.exec(part) ?? [];
      return { command, printed: rest.split("\n").slice(0, -1) };
    });
}

/** Whether this is what the page says; the machine's own times and ids are behind `...`. */
export function prints(output: string, printed: readonly string[]): boolean {
  const lines = output.split("\n").filter((_, index, all) => index < all.length - 1 || all[index] !== "");
  return (
    lines.length === printed.length &&
    printed.every((said, index) => {
      const line = lines[index] ?? "";
      return said.endsWith("...") ? line.startsWith(said.slice(0, -3)) : line === said;
    })
  );
}

/** By bash, which ends at the first command that fails. */
export async function runShell(script: string, { cwd, env = {} }: Surroundings): Promise<Run> {
  const child = spawn("bash", ["-euo", "pipefail", "-c", `{ ${script}\n} 2>&1`], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? -1));
  });
  const [output, code] = await Promise.all([text(child.stdout), ended]);
  return { code, output };
}
