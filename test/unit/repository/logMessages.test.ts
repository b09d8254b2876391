/** What the service logs, read from its source: each message is a phrase in lower case that a verb begins. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = join(import.meta.dirname, "../../../src");
/** They write the messages that others give them, which are found where they are given. */
const PASSED_ON = ["reconciler/claim.ts: message"];

/** What a message may begin with: what happened, or what failed. Add the verb that is missing, never a noun. */
const VERBS = new Set(
  `admitted bound changed connected crashed denied disconnected ended failed found handed held kept loaded lost lowered made
  migrated moved orphaned parked postponed provisioned raised reached read received refused released removed renewed restarted
  restored resumed running sent set started stopped stopping took voided waiting`.split(/\s+/),
);

interface Call {
  readonly file: string;
  /** The text of the argument that holds the message. */
  readonly argument: string;
  readonly messages: readonly string[];
}

const LITERAL = /"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;

/** The arguments of a call that begins at `from`, as they stand there. */
function argumentsAt(source: string, from: number): string[] {
  const found: string[] = [];
  let depth = 0;
  let begin = from;
  for (let at = from; at < source.length; at += 1) {
    const quote = source[at] ?? "";
    if (quote === '"' || quote === "`") {
      for (at += 1; source[at] !== quote && at < source.length; at += 1) if (source[at] === "\\") at += 1;
    } else if ("([{".includes(quote)) depth += 1;
    else if (")]}".includes(quote) && depth > 0) depth -= 1;
    else if ((quote === "," && depth === 0) || quote === ")") {
      found.push(source.slice(begin, at).trim());
      begin = at + 1;
      if (quote === ")") return found;
    }
  }
  return found;
}

function callsIn(file: string): Call[] {
  const source = readFileSync(join(SRC, file), "utf8");
  const calls = [
    ...Array.from(
      source.matchAll(/\blog(?:\.(?:debug|info|warn|error)|\[[^\]]+\])\(/g),
      (match) => [match, 0] as const,
    ),
    ...Array.from(source.matchAll(/(?<!function )\boutcomeLog\(/g), (match) => [match, 2] as const),
  ];
  return calls.map(([match, position]) => {
    const argument = argumentsAt(source, match.index + match[0].length)[position] ?? "";
    // Of a condition: what it chooses from, not what it asks.
    const chosen = argument.includes("?") ? argument.slice(argument.indexOf("?")) : argument;
    const messages = Array.from(chosen.matchAll(LITERAL), ([, plain, template]) => plain ?? template ?? "");
    return { file, argument, messages };
  });
}

const CALLS = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap(callsIn);
/** Messages that a table holds, by the class of the error. */
const OUTCOMES = /const FAILED[^{]*\{([^}]*)\}/.exec(readFileSync(join(SRC, "saga/outcome.ts"), "utf8"))?.[1] ?? "";
const MESSAGES = [
  ...CALLS.flatMap(({ file, messages }) => messages.map((text) => ({ file, text }))),
  ...Array.from(OUTCOMES.matchAll(LITERAL), ([, text = ""]) => ({ file: "saga/outcome.ts", text })),
];

describe("log messages", () => {
  it("stand where they are written, so that they can be searched for", () => {
    expect(CALLS.length).toBeGreaterThan(60);
    const without = CALLS.filter(({ messages, argument }) => messages.length === 0 && !argument.startsWith("FAILED["));
    expect(without.map(({ file, argument }) => `${file}: ${argument}`)).toEqual(PASSED_ON);
  });

  it("begin with a verb in lower case", () => {
    const wrong = MESSAGES.filter(({ text }) => !VERBS.has(/^[a-z]+\b/.exec(text)?.[0] ?? ""));
    expect(wrong).toEqual([]);
  });

  it("end without a full stop, and part what happened from what follows by a semicolon", () => {
    expect(MESSAGES.filter(({ text }) => /[.!:,;]$|\. [A-Z]/.test(text))).toEqual([]);
  });
});
