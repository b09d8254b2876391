import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { REASON } from "../../../src/api/reasons.ts";
import { pathWithProgram } from "../../support/installed.ts";
import { lintFolder } from "../../support/lint.ts";
import { blockOf, commandsOf, prints, runShell } from "../../support/pages.ts";

const PAGE = "docs/tenant-guide.md";
const content = readFileSync(join(import.meta.dirname, "../../..", PAGE), "utf8");

/** Only ever on a Tenant. */
const OF_TENANTS = new Set<string>([
  REASON.ChangeRefused,
  REASON.ClaimRefused,
  REASON.EmailDomainsUnrestricted,
  REASON.NoLoginPath,
  REASON.MarksForgeable,
  REASON.AttributesDropped,
  REASON.MissingGroup,
  REASON.MissingRole,
  REASON.PrivilegedGrant,
  REASON.RealmNotFound,
  REASON.MissingPermission,
  REASON.NamespaceNotFound,
  REASON.KeycloakCredentialsMissing,
  REASON.NewAPICredentialsMissing,
  REASON.TenantInUse,
]);

it("names every reason that a person can show, with its entry in the runbook", () => {
  const links = Array.from(content.matchAll(/\[(\w+)\]\(runbook\.md#(\w+)\)/g), ([, reason = "", anchor = ""]) => {
    expect(anchor).toBe(reason.toLowerCase());
    return reason;
  });
  const known = Object.values(REASON).filter((reason) => !OF_TENANTS.has(reason));
  expect([...new Set(links)].toSorted()).toEqual(known.toSorted());
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
