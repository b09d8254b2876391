/** The commands of docs/tenant-guide.md, as they stand there, run by somebody who may read in the tenant's namespace. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, assert, beforeAll, expect, it, onTestFinished } from "vitest";
import { parse, stringify } from "yaml";
import * as z from "zod";

import { applyText, kubectl } from "../../stack/kube.ts";
import { pathWithProgram } from "../support/installed.ts";
import { blockOf, blocksOf, commandsOf, prints, runShell } from "../support/pages.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { TestTenant } from "../support/tenant.ts";

const PAGE = "docs/tenant-guide.md";
const READER = "person@tenant.example";
/** Run without a stack, by test/unit/repository. */
const ELSEWHERE = ["lint"];

let platform: Platform;
let tenant: TestTenant;
beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("guide");
  await applyText(platform.env, rights(tenant.namespace));
});
afterAll(() => platform?.close());

it("each command does what the page says", async () => {
  const work = mkdtempSync(join(tmpdir(), "unified-rbac-guide-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const clone = await tenant.clone(join(work, "clone"));
  const KUBECONFIG = join(work, "kubeconfig");
  writeFileSync(KUBECONFIG, await kubeconfig(), { mode: 0o600 });
  const PATH = `${dirname(platform.env.KUBECTL)}:${pathWithProgram()}`;
  const run: string[] = [];

  const follow = async (name: string): Promise<string> => {
    run.push(name);
    let last = "";
    for (const { command, printed } of commandsOf(blockOf(PAGE, name))) {
      const { code, output } = await runShell(command, { cwd: clone.dir, env: { PATH, KUBECONFIG } });
      assert.equal(code, 0, `${name} printed:\n${output}`);
      // A command of which the page shows no answer may say what it likes.
      assert(printed.length === 0 || prints(output, printed), `${command} printed:\n${output}`);
      last = output;
    }
    return last;
  };
  const applied = async (): Promise<void> => {
    await tenant.applied((await clone.head()) ?? "");
  };

  await follow("add");
  await tenant.pushed();
  await follow("wait");
  await follow("look");
  const before = await tenant.person("ada");
  expect(await follow("secret")).toBe(before.secretName);
  await applied();
  expect(await follow("flux")).toMatch(/^users +\S+ +True +Applied revision: main@sha1:/m);
  expect(await follow("message")).toMatch(/\.$/);

  await follow("rotate");
  await tenant.pushed();
  await follow("rotated");
  const after = await tenant.person("ada");
  expect({ ...after, apiKey: "" }).toEqual({ ...before, apiKey: "" });
  expect(after.apiKey).not.toBe(before.apiKey);
  await applied();

  await follow("remove");
  await tenant.pushed();
  await follow("removed");
  assert.equal(await tenant.secret(before.secretName), undefined);

  const marked = blocksOf(PAGE).flatMap(({ name }) => (name === "" ? [] : [name]));
  expect([...run, ...ELSEWHERE].toSorted()).toEqual(marked.toSorted());
}, 300_000);

/** The administrator's, but for the namespace and who acts. */
async function kubeconfig(): Promise<string> {
  const raw = await kubectl(platform.env, ["config", "view", "--raw"]);
  const named = (inner: string) => z.array(z.looseObject({ name: z.string(), [inner]: z.looseObject({}) }));
  const config = z.looseObject({ contexts: named("context"), users: named("user") }).parse(parse(raw));
  return stringify({
    ...config,
    contexts: config.contexts.map(({ name, context }) => ({
      name,
      context: { ...z.looseObject({}).parse(context), namespace: tenant.namespace },
    })),
    users: config.users.map(({ name, user }) => ({ name, user: { ...z.looseObject({}).parse(user), as: READER } })),
  });
}

/** What a platform would give to somebody of the tenant: to look. */
function rights(namespace: string): string {
  const metadata = { name: "readers", namespace };
  const rbac = "rbac.authorization.k8s.io";
  return [
    {
      apiVersion: `${rbac}/v1`,
      kind: "Role",
      metadata,
      rules: [
        { apiGroups: ["catalyst.openova.io"], resources: ["tenantusers"], verbs: ["get", "list", "watch"] },
        { apiGroups: ["kustomize.toolkit.fluxcd.io"], resources: ["kustomizations"], verbs: ["get", "list"] },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: rbac, kind: "Role", name: "readers" },
      subjects: [{ apiGroup: rbac, kind: "User", name: READER }],
    },
  ]
    .map((each) => stringify(each))
    .join("---\n");
}
