/** The product is taken away as docs/platform-guide.md says, with people in place, and comes back. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import { installProduct } from "../../stack/cluster/install.ts";
import { kubectl } from "../../stack/kube.ts";
import { projectRoot } from "../../stack/paths.ts";
import { openPods, type Pods } from "../support/pods.ts";
import type { TestTenant } from "../support/tenant.ts";

let pods: Pods;
let tenant: TestTenant;

beforeAll(async () => {
  pods = await openPods();
  await pods.settled();
  tenant = await pods.tenant("uninstall");
});
afterAll(() => pods?.close());

const named = z.object({ kind: z.string() });

/** What Flux prunes: everything but what carries kustomize.toolkit.fluxcd.io/prune: disabled. */
async function uninstall(): Promise<void> {
  const text = await kubectl(pods.env, ["kustomize", join(projectRoot, "manifests/overlays/default")]);
  const objects = parseAllDocuments(text)
    .map((document) => document.toJS() as unknown)
    .filter((object) => !["CustomResourceDefinition", "Namespace"].includes(named.parse(object).kind));
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  await kubectl(pods.env, ["delete", "--ignore-not-found", "--timeout=120s", "-f", "-"], list);
}

it("loses nobody, stands in nobody's way, and goes on where it stopped", async () => {
  await tenant.apply("ada");
  const ada = await tenant.person("ada");
  const before = await tenant.everything(ada);

  await uninstall();
  expect(await pods.running()).toEqual([]);
  // Nothing of ours answers any more, and nothing waits for it.
  expect((await tenant.apply("grace")).status).toBe(201);
  expect((await tenant.apply("ada", { displayName: "Ada King" })).status).toBe(200);
  await kubectl(pods.env, ["create", "namespace", "unrelated"]);
  await kubectl(pods.env, ["delete", "namespace", "unrelated", "--timeout=30s"]);
  const headers = { authorization: `Bearer ${ada.apiKey}` };
  expect((await fetch(`${pods.env.NEWAPI_URL}/v1/models`, { headers })).status).toBe(200);
  expect(await tenant.everything(ada)).toEqual(before);
  // Somebody who is removed meanwhile is kept until the accounts can be.
  await tenant.remove("ada");
  expect((await tenant.user("ada"))?.metadata.deletionTimestamp).toBeDefined();

  await installProduct(pods.env);
  await tenant.gone("ada");
  expect(await tenant.keycloakUsers(ada.uuid)).toEqual([]);
  await tenant.person("grace");
});
