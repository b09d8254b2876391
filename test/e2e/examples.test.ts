/** What stands in examples/, committed as it is: Git, Flux, the cluster, and the people have what the examples say. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, assert, beforeAll, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import { sha256, type TestTenant } from "../support/tenant.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const read = (file: string): string => readFileSync(join(EXAMPLES, file), "utf8");
const namesIn = (text: string): string[] =>
  parseAllDocuments(text).map(
    (each) => z.object({ metadata: z.object({ name: z.string() }) }).parse(each.toJS()).metadata.name,
  );
const all = readdirSync(EXAMPLES).filter((file) => file.endsWith(".yaml"));
/** About somebody who is there already. */
const LATER = ["rotation.yaml", "suspension.yaml"];

let platform: Platform;
let tenant: TestTenant;
beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("examples", { patch: { allow: { retain: true } } });
});
afterAll(() => platform?.close());

const commit = (files: Readonly<Record<string, string | undefined>>): Promise<string> =>
  tenant.commit(Object.fromEntries(Object.entries(files).map(([file, text]) => [`users/${file}`, text])));

it("everybody in them becomes Ready, in one commit", async () => {
  const first = Object.fromEntries(all.map((file) => [file, LATER.includes(file) ? before(read(file)) : read(file)]));
  await tenant.applied(await commit(first));
  const names = all.flatMap((file) => namesIn(read(file)));
  expect(names.length).toBeGreaterThan(all.length);
  for (const name of names) await tenant.ready(name);
  await tenant.person("ada");

  // The team's programs find the names that they look for.
  const { status } = await tenant.ready("grace");
  const secret = await tenant.secret(status?.secretName ?? "");
  expect(Object.keys(secret?.data ?? {}).toSorted()).toEqual(["OPENAI_API_KEY", "OPENAI_BASE_URL"]);
});

it("rotation: the same Secret with another key, and the old one opens nothing", async () => {
  const old = await tenant.person("edsger");
  await tenant.applied(await commit({ "rotation.yaml": read("rotation.yaml") }));
  await soon(async () => assert.equal((await tenant.ready("edsger")).status?.key?.generation, 1));
  const now = await tenant.person("edsger");
  expect({ ...now, apiKey: "" }).toEqual({ ...old, apiKey: "" });
  expect(now.apiKey).not.toBe(old.apiKey);
  const keys = (await tenant.accounts(now.uuid)).flatMap(({ keySHA256 }) => keySHA256);
  expect(keys).not.toContain(sha256(old.apiKey));
});

it("suspension: Ready as before, with the condition Suspended, and Flux is content", async () => {
  const old = await tenant.person("tony");
  await tenant.applied(await commit({ "suspension.yaml": read("suspension.yaml") }));
  await tenant.says("tony", "Suspended", "True", "Suspended");
  expect(await tenant.person("tony")).toEqual(old);
});

it("Retain: the file goes, the person stays whole, and is the same when it is back", async () => {
  const old = await tenant.person("donald");
  await tenant.applied(await commit({ "retain.yaml": undefined }));
  await tenant.gone("donald");
  expect((await tenant.keycloakUsers(old.uuid)).map(({ enabled }) => enabled)).toEqual([true]);
  expect(await tenant.accounts(old.uuid)).toMatchObject([{ disabled: false }]);
  expect((await tenant.secret(old.secretName))?.data["api-key"]).toBe(old.apiKey);
  await tenant.applied(await commit({ "retain.yaml": read("retain.yaml") }));
  expect(await tenant.person("donald")).toEqual(old);
  // A tenant with somebody retained cannot go, and this one must.
  const released = read("retain.yaml").replace("deletionPolicy: Retain", "deletionPolicy: Delete");
  await tenant.applied(await commit({ "retain.yaml": released }));
});

/** The same person before the example's change. */
function before(text: string): string {
  const cut = text.replace(/^ {2}suspend: true\n/m, "").replace(/^ {2}key:\n(?: {4}.*\n)+/m, "");
  assert(cut !== text, "the example changes nothing");
  return cut;
}
