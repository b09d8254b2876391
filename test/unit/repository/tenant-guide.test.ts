import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { USER_REASONS } from "../../../src/api/reasons.ts";
import { pathWithProgram } from "../../support/installed.ts";
import { lintFolder } from "../../support/lint.ts";
import { blockOf, commandsOf, prints, runShell } from "../../support/pages.ts";

const PAGE = "docs/tenant-guide.md";
const content = readFileSync(join(import.meta.dirname, "../../..", PAGE), "utf8");

it("names every reason that a person can show, with its entry in the runbook", () => {
  const links = new Map(
    Array.from(content.matchAll(/\[(\w+)\]\(runbook\.md#(\w+)\)/g), ([, reason = "", anchor = ""]) => [reason, anchor]),
  );
  expect(Array.from(links).filter(([reason, anchor]) => anchor !== reason.toLowerCase())).toEqual([]);
  expect(USER_REASONS.map(([reason]) => reason).filter((reason) => !links.has(reason))).toEqual([]);
});

it("shows what lint prints, word for word", async () => {
  const block = blockOf(PAGE, "lint");
  const [show, ...others] = commandsOf(block);
  const made = lintFolder({ "users/grace.yaml": `${show?.printed.join("\n")}\n` });
  for (const { command, printed } of others) {
    const { output } = await runShell(command, { cwd: made.dir, env: { PATH: pathWithProgram() } });
    expect(prints(output, printed), `${command} printed:\n${output}`).toBe(true);
  }
  expect(others).toHaveLength(1);
});
