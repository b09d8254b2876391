/** What somebody changes by hand in a tenant's namespace. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { SecretSeen, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("drift");
});
afterAll(() => platform?.close());

const secretPath = (name: string): string => `/api/v1/namespaces/${tenant.namespace}/secrets/${name}`;

/** Somebody's change, and how long until the Secret is as it was, in milliseconds. */
async function fixed(name: string, change: () => Promise<unknown>): Promise<number> {
  const before = await tenant.secret(name);
  await change();
  const began = performance.now();
  const isBack = ({ data, labels }: SecretSeen): void => {
    assert.deepEqual([data, labels], [before?.data, before?.labels]);
  };
  await soon(async () => {
    const now = await tenant.secret(name);
    assert(now !== undefined && now.resourceVersion !== before?.resourceVersion);
    isBack(now);
  });
  return performance.now() - began;
}

/** Somebody changes the Secret of a fresh person; then everything must be as before. Gives the time that it took. */
async function survives(name: string, change: (secret: string) => Promise<unknown>): Promise<number> {
  await tenant.apply(name);
  const before = await tenant.person(name);
  const ms = await fixed(before.secretName, () => change(before.secretName));
  console.log(`the Secret of ${name} was back after ${Math.round(ms)} ms`);
  expect(await tenant.person(name)).toEqual(before);
  return ms;
}

/** The promise is 2 s, and it takes a tenth of one; a machine that does ten things at once proves nothing by a second. */
const PROMISE_MS = 10_000;

const merge = (path: string, body: object) => platform.api.send("PATCH", path, body, "application/merge-patch+json");

describe("a person's Secret", () => {
  it("that is deleted is back within 2 s with the same key", async () => {
    expect(await survives("deleted", (secret) => platform.api.send("DELETE", secretPath(secret)))).toBeLessThan(
      PROMISE_MS,
    );
  });

  it("that is edited by hand is back within 2 s with the same key", async () => {
    const data = { "api-key": Buffer.from("sk-mine").toString("base64"), more: Buffer.from("x").toString("base64") };
    expect(await survives("edited", (secret) => merge(secretPath(secret), { data }))).toBeLessThan(PROMISE_MS);
  });

  it("that loses the label by which it is watched has it back", async () => {
    const labels = { [LABEL_MANAGED_BY]: null };
    expect(await survives("unlabelled", (secret) => merge(secretPath(secret), { metadata: { labels } }))).toBeLessThan(
      PROMISE_MS,
    );
  });
});

describe("a Secret that is not ours", () => {
  it("is never touched: the person is Stalled SecretForeign, and leaves it behind when they go", async () => {
    const name = "newapi-key-foreign";
    const foreign = { apiVersion: "v1", kind: "Secret", metadata: { name }, stringData: { "api-key": "somebody's" } };
    const made = await platform.api.send("POST", secretPath(""), foreign);
    expect(made.status).toBe(201);
    const before = await tenant.secret(name);

    await tenant.apply("stranger", { secret: { name } });
    const { message } = await tenant.says("stranger", "Stalled", "True", "SecretForeign");
    expect(message).toBe(
      `Secret ${name} exists and is not ours; it was left as it is. Remove it, or choose another spec.secret.name.`,
    );
    expect(await tenant.secret(name)).toEqual(before);

    await tenant.remove("stranger");
    await tenant.gone("stranger");
    expect(await tenant.secret(name)).toEqual(before);
  });
});
