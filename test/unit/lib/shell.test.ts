import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { raw, shell, shellWord } from "../../../src/lib/shell.ts";

/** What a real shell makes of the line: its words, one a NUL. */
function words(line: string): string[] {
  const said = execFileSync("sh", ["-c", `printf '%s\\0' ${line}`], { encoding: "utf8", cwd: "/" });
  return said.split("\0").slice(0, -1);
}

describe("what is put into a command", () => {
  test("is one word of it to a real shell, whatever it holds", () => {
    const nasty = fc.string({
      unit: fc.constantFrom(..."`$(){}[]'\"\\!*?~#&|;<> \t\n=^%-a@é".split("")),
      maxLength: 20,
    });
    const all = fc.sample(fc.oneof(nasty, fc.string()), 300).map((text) => text.replaceAll("\0", ""));
    expect(words(all.map(shellWord).join(" "))).toEqual(all);
  });

  test.each(["`id`@x.example", "$(id)@x.example", "o'neil@x.example", "a&b@x.example", "", "a b", "~root", "#x"])(
    "%s",
    (text) => {
      expect(words(shell`purge --confirm=${text} --reason ${text}`)).toEqual([
        "purge",
        `--confirm=${text}`,
        "--reason",
        text,
      ]);
    },
  );

  test("is more than one word only where that is said", () => {
    expect(words(shell`get ${raw("-n a")} ${"b c"}`)).toEqual(["get", "-n", "a", "b c"]);
  });

  test("plain names stay as they are", () => {
    expect(shell`kubectl -n ${"tenant-acme"} get tenantuser ${"ada"}`).toBe(
      "kubectl -n tenant-acme get tenantuser ada",
    );
  });
});

test("no command is printed that was put together by hand", () => {
  const src = join(import.meta.dirname, "../../../src");
  const offenders = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => {
      const text = readFileSync(join(src, file), "utf8");
      // A template that holds both a command and a value: the value after the command has to be quoted by `shell`.
      return [...text.matchAll(/(\w*)`([^`]*)`/g)].flatMap(([, tag, body = ""]) => {
        const after =
          /\b(?:kubectl|kcadm\.sh|unified-rbac) (?!said|worker)[a-z-][^\n]*?\$\{(?!shell`|raw\()([^}]*)\}|--confirm[ =]\$\{(?!shell)/.exec(
            body,
          );
        return after === null || tag === "shell" ? [] : [`${file}: ${after[0]}`];
      });
    });
  expect(offenders).toEqual([]);
});
