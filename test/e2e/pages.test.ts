/** The commands of the runbook and of the guides, as they stand there, but for the names in them: each is run. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { kubectl } from "../../stack/kube.ts";
import { projectRoot } from "../../stack/paths.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { openShell, type Shell } from "../support/shell.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let shell: Shell;
beforeAll(async () => {
  platform = await openPlatform();
  shell = await openShell(platform.env);
});
afterAll(async () => {
  await platform?.close();
  shell?.remove();
});

/** What needs Pods, a controller that does not run here, or a person who answers; and where it is tried instead. */
const ELSEWHERE: readonly RegExp[] = [
  // The local stack has no Pods: the product's processes run beside it.
  /deployment\/unified-rbac|rollout restart/,
  // Definitions that only test/e2e/flux-install.test.ts puts there.
  /externalsecret|get receiver/,
  // They ask back: test/e2e/plugin.test.ts answers.
  /^kubectl tenantuser (purge|cleanups waive)\b/,
  // An editor, a password, a file of the platform's own, a program of Postgres.
  /kubectl edit|config credentials|overlays\/production|^pg_dump|<|port-forward/,
  // They wait for a deletion that nobody ordered, or need a program that is not everywhere.
  /--for gone|\| jq /,
  // Names of commands, not commands.
  /^(kubectl|unified-rbac) (apply|create|drain|get|tenantuser|tenant init)$/,
];
/** What says by its exit code that something is missing or in the way. */
const MAY_SAY_NO = /^unified-rbac tenant (check|offboard)|retry|\| grep/;
/** What is there already, as it would be for the reader in another place of the page. */
const MAY_EXIST = /\bcreate\b/;
const EXISTS = /exists|409|conflict/i;

/** Fenced shell blocks and code in the text, in their order; one command each. */
function commandsOn(page: string): string[] {
  const text = readFileSync(join(projectRoot, page), "utf8");
  const found = text.matchAll(
    /^ *```(?:sh)?\n([\s\S]*?)^ *```$|`((?:kubectl|unified-rbac|kcadm\.sh|pg_dump) [^`]+)`/gm,
  );
  return Array.from(found, ([, block, span]) => span ?? block ?? "").flatMap((part) =>
    part
      .replaceAll(/\\\n\s*/g, " ")
      .split("\n")
      .map((line) => line.replace(/\s+#.*$/, "").trim())
      .filter((line) => /^(kubectl|unified-rbac|kcadm\.sh|pg_dump|curl|openssl|printf) /.test(line)),
  );
}

interface Names {
  readonly tenant: TestTenant;
  readonly name: string;
  readonly secret: string;
}

/** The reader's own names in the place of the page's. */
function filledIn(command: string, { tenant, name, secret }: Names): string {
  const { env } = platform;
  const names: readonly (readonly [RegExp, string])[] = [
    [/\bNAME\b(?!:)/g, name],
    [/\bNS\b/g, tenant.namespace],
    [/\bTENANT\b/g, tenant.id],
    [/\bREALM\b/g, tenant.realm.realm],
    [/\bADDRESS\b/g, tenant.email(name)],
    [/\bSECRET\b/g, secret],
    [/\bGROUP\b/g, "sme-users"],
    [/\bROLE\b/g, "role-of-the-page"],
    [/\btenant-acme\b/g, tenant.namespace],
    [/\bacme\b(?!\.)/g, tenant.id],
    [/https:\/\/sso\.example\.com/g, env.KEYCLOAK_URL],
    [/https:\/\/gateway\.example\.com/g, "$GATEWAY"],
    [/^curl /, "curl -fsS "],
  ];
  return names.reduce((text, [pattern, own]) => text.replace(pattern, () => own), command);
}

async function follow(page: string, names: Names, before: readonly string[] = []): Promise<void> {
  const commands = commandsOn(page).filter((command) => !ELSEWHERE.some((pattern) => pattern.test(command)));
  expect(commands.length).toBeGreaterThan(0);
  for (const command of commands) {
    const line = filledIn(command, names);
    // What watches is stopped by the reader.
    const typed = line.endsWith(" -w") ? `timeout 2 ${line}; test $? -eq 124` : line;
    const { code, out, err } = await shell.lines([
      `export UNIFIED_RBAC_OPS_URL=${platform.product.operatorURL}`,
      ...before,
      typed,
    ]);
    const isFine =
      code === 0 ||
      (MAY_SAY_NO.test(command) && code !== null && code < 3) ||
      (MAY_EXIST.test(command) && EXISTS.test(`${out}${err}`));
    assert(isFine, `${page}: ${line}\nended with ${code} and printed:\n${out}${err}`);
  }
}

async function somebody(label: string, dialect: "admin-v1" | "new-api"): Promise<Names> {
  const tenant = await platform.tenant(label, { values: { NEWAPI_DIALECT: dialect } });
  await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") });
  await tenant.ready("ada");
  const { secretName: secret } = await tenant.person("ada");
  return { tenant, name: "ada", secret };
}

const file = (name: string, value: string): void => writeFileSync(join(shell.dir, name), value);

describe("every command of", () => {
  it("the runbook and the platform guide", async () => {
    const { env } = platform;
    const names = await somebody("pages", "admin-v1");
    for (const name of ["username", "password", "webhook-token", "status-token"]) file(name, name);
    file("token", env.NEWAPI_ADMIN_TOKEN);
    for (const name of ["owner-url", "webhook-url", "reconciler-url"])
      file(name, "postgres://nobody@none.invalid/none");
    file("clients-ca.crt", "no certificate");
    await follow("docs/runbook.md", names);
    await follow("docs/platform-guide.md", names);
  }, 600_000);

  it("the page on the gateway, and of the plugin's", async () => {
    const names = await somebody("pages-newapi", "new-api");
    const { spec } = await names.tenant.tenant();
    const read = async (entry: string): Promise<string> => {
      const path = `jsonpath={.data.${entry}}`;
      const secret = spec.newapi.credentialsSecretName;
      const value = await kubectl(platform.env, ["-n", "unified-rbac-system", "get", "secret", secret, "-o", path]);
      return Buffer.from(value, "base64").toString("utf8");
    };
    const [token, id] = [await read("token"), await read("user-id")];
    const before = [`export TOKEN=${token} ID=${id} GATEWAY=${spec.newapi.url}`];
    await follow("docs/newapi.md", names, before);
    await follow("docs/kubectl-tenantuser.md", names, before);
  }, 300_000);
});
