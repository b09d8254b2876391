import { describe, expect, test } from "vitest";
import { LABEL_MANAGED_BY, LABEL_TENANT, LABEL_USER_UUID } from "../../../src/api/meta.ts";
import type { TenantUserSpecInput } from "../../../src/api/tenantUser.ts";
import { TerminalError, TransientError } from "../../../src/lib/errors.ts";
import { desire } from "../../../src/saga/desired.ts";
import type { SagaRow } from "../../../src/saga/row.ts";
import { newapiStep } from "../../../src/steps/newapi.ts";
import { secretStep } from "../../../src/steps/secret.ts";
import { ADA, sagaRow, tenant, tenantUser } from "../../support/builders.ts";
import { type Bench, learned, makeBench } from "../../support/stepContext.ts";

const NAME = `newapi-key-${ADA}`;
const OURS = { [LABEL_TENANT]: "acme", [LABEL_USER_UUID]: ADA, [LABEL_MANAGED_BY]: "unified-rbac" };

/** The account is there; the Secret is not. */
async function withAccount(): Promise<{ bench: Bench; row: SagaRow }> {
  const bench = makeBench();
  const before = sagaRow({ keycloakUserID: "kc-1" });
  const row = learned(before, (await newapiStep.up(bench.context(before), bench.signal)).learned);
  bench.wrote.length = 0;
  return { bench, row };
}

async function up(
  bench: Bench,
  row: SagaRow,
  spec: Partial<TenantUserSpecInput> = {},
  namespace = "tenant-a",
): Promise<SagaRow> {
  const user = tenantUser().named("ada", namespace).withSpec(spec).build();
  return learned(row, (await secretStep.up(bench.context(row, user), bench.signal)).learned);
}

function plain(bench: Bench, name = NAME, namespace = "tenant-a"): Record<string, string> {
  const data = bench.cluster.secret(namespace, name)?.data ?? {};
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
}

describe("going up", () => {
  test("puts key and address into a Secret with our labels, and tells its uid", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    expect(plain(bench)).toEqual({ "api-key": "sk-key-1", "base-url": "https://newapi.example.com" });
    const { metadata } = bench.cluster.secret("tenant-a", NAME) ?? {};
    expect(metadata?.labels).toEqual(OURS);
    expect(metadata).not.toHaveProperty("ownerReferences");
    expect(after).toMatchObject({ secretNamespace: "tenant-a", secretName: NAME, secretUID: metadata?.uid });
    expect(bench.wrote).toEqual([{ action: "created", target: `tenant-a/${NAME}` }]);
  });

  test("what is as it should be is not written", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    await up(bench, after);
    expect(bench.cluster.calls("replaceSecret")).toBe(0);
  });

  test("is back with the same key when it was deleted", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    bench.cluster.removeSecret("tenant-a", NAME);
    const again = await up(bench, after);
    expect(plain(bench)).toMatchObject({ "api-key": "sk-key-1" });
    expect(again.secretUID).not.toBe(after.secretUID);
  });

  test("data is exactly ours again after a hand has changed it", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    bench.cluster.applySecret("tenant-a", NAME, { "api-key": "wrong", extra: "x" });
    await up(bench, after);
    expect(plain(bench)).toEqual({ "api-key": "sk-key-1", "base-url": "https://newapi.example.com" });
  });

  test("labels of others stay, ours that are no longer wanted go, stripped ones come back", async () => {
    const { bench, row } = await withAccount();
    const secret = { labels: { mine: "1", other: "2" } };
    const after = await up(bench, row, { secret });
    const current = bench.cluster.secret("tenant-a", NAME);
    if (current === undefined) throw new Error("no Secret");
    await bench.cluster.replaceSecret(
      current,
      {
        namespace: "tenant-a",
        name: NAME,
        labels: { mine: "1", other: "2", theirs: "3" },
        annotations: { note: "x" },
        data: plain(bench),
      },
      bench.signal,
    );
    await up(bench, after, { secret: { labels: { mine: "1" } } });
    expect(bench.cluster.secret("tenant-a", NAME)?.metadata).toMatchObject({
      labels: { ...OURS, mine: "1", theirs: "3" },
      annotations: { note: "x" },
    });
    expect(bench.cluster.secret("tenant-a", NAME)?.metadata.labels).not.toHaveProperty("other");
  });

  test("renamed keys leave nothing behind", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    await up(bench, after, { secret: { keys: { apiKey: "OPENAI_API_KEY", baseURL: "OPENAI_BASE_URL" } } });
    expect(plain(bench)).toEqual({ OPENAI_API_KEY: "sk-key-1", OPENAI_BASE_URL: "https://newapi.example.com" });
  });

  test("asks the gateway for the key when no earlier step has just seen it", async () => {
    const { bench, row } = await withAccount();
    bench.gateway.calls.length = 0;
    await up(bench, row);
    expect(bench.gateway.calls).toEqual(["find", "verifyKey"]);
  });

  test("an account that is gone is the step before's to make", async () => {
    const { bench, row } = await withAccount();
    bench.gateway.accounts.clear();
    await expect(up(bench, row)).rejects.toMatchObject({ class: "conflict", code: "AccountGone" });
  });
});

describe("whose Secret it is", () => {
  test("a foreign Secret is never touched", async () => {
    const { bench, row } = await withAccount();
    const before = bench.cluster.applySecret("tenant-a", NAME, { "api-key": "theirs" });
    await expect(up(bench, row)).rejects.toMatchObject({ class: "terminal", code: "SecretForeign" });
    expect(bench.cluster.secret("tenant-a", NAME)).toEqual(before);
  });

  test("one that came in the place of ours is foreign, whatever it holds", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    bench.cluster.removeSecret("tenant-a", NAME);
    bench.cluster.applySecret("tenant-a", NAME, { "api-key": "sk-key-1" });
    await expect(up(bench, after)).rejects.toMatchObject({ code: "SecretForeign" });
  });

  test("our labels on another key are not enough: the tenant could have written them", async () => {
    const { bench, row } = await withAccount();
    const body = { namespace: "tenant-a", name: NAME, labels: OURS, annotations: {}, data: { "api-key": "another" } };
    await bench.cluster.createSecret(body, bench.signal);
    await expect(up(bench, row)).rejects.toMatchObject({ code: "SecretForeign" });
  });

  test("a Secret posted but not recorded is recognised by labels and key", async () => {
    const { bench, row } = await withAccount();
    const posted = await up(bench, row);
    expect(await up(bench, row)).toMatchObject({ secretUID: posted.secretUID });
    expect(bench.cluster.calls("createSecret")).toBe(1);
  });

  test("so is one that is ours while another uid is recorded: a backup was restored", async () => {
    const { bench, row } = await withAccount();
    const posted = await up(bench, row);
    expect(await up(bench, { ...row, secretName: NAME, secretNamespace: "tenant-a", secretUID: "old" })).toMatchObject({
      secretUID: posted.secretUID,
    });
  });
});

describe("another place", () => {
  test("a renamed Secret removes the old one by uid", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, await up(bench, row), { secret: { name: "newapi-key-mine" } });
    expect(after.secretName).toBe("newapi-key-mine");
    expect(plain(bench, "newapi-key-mine")).toMatchObject({ "api-key": "sk-key-1" });
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
  });

  test("cut after the new one was made, it continues where it was", async () => {
    const { bench, row } = await withAccount();
    const before = await up(bench, row);
    bench.cluster.break("deleteSecret", new TransientError({ code: "UpstreamUnavailable", message: "No answer." }));
    await expect(up(bench, before, { secret: { name: "newapi-key-mine" } })).rejects.toThrow("No answer.");
    bench.cluster.break("deleteSecret", undefined);
    const after = await up(bench, before, { secret: { name: "newapi-key-mine" } });
    expect(after.secretUID).toBe(bench.cluster.secret("tenant-a", "newapi-key-mine")?.metadata.uid);
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
  });

  test("a foreign one under the old name stays, and does not stand in the way", async () => {
    const { bench, row } = await withAccount();
    const before = await up(bench, row);
    bench.cluster.removeSecret("tenant-a", NAME);
    bench.cluster.applySecret("tenant-a", NAME, { x: "theirs" });
    const after = await up(bench, before, { secret: { name: "newapi-key-mine" } });
    expect(after.secretName).toBe("newapi-key-mine");
    expect(plain(bench)).toEqual({ x: "theirs" });
  });

  test("moves with the person to another namespace", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, await up(bench, row), {}, "tenant-b");
    expect(after.secretNamespace).toBe("tenant-b");
    expect(plain(bench, NAME, "tenant-b")).toMatchObject({ "api-key": "sk-key-1" });
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
  });
});

describe("trying the key", () => {
  const verdictOf = async (verdict: "works" | "exhausted" | "dead" | "disabled") => {
    const { bench, row } = await withAccount();
    bench.gateway.verdict = verdict;
    const result = secretStep.up(bench.context(row), bench.signal);
    return { bench, result };
  };

  test.each(["works", "exhausted"] as const)("%s is told", async (verdict) => {
    await expect((await verdictOf(verdict)).result).resolves.toMatchObject({ key: verdict });
  });

  test("a dead key is no success", async () => {
    await expect((await verdictOf("dead")).result).rejects.toMatchObject({
      class: "transient",
      code: "GatewayUnauthorized",
    });
  });

  test("a disabled account is enabled, and the key tried again", async () => {
    const { bench, result } = await verdictOf("disabled");
    await expect(result).rejects.toMatchObject({ code: "GatewayUnauthorized" });
    expect(bench.wrote).toContainEqual({ action: "enabled", target: "na-1" });
  });

  test("is left out when the Tenant does not want it, or the person is locked out", async () => {
    const { bench, row } = await withAccount();
    bench.gateway.verdict = "dead";
    const off = tenantUser().withSpec({ enabled: false }).build();
    await expect(secretStep.up(bench.context(row, off), bench.signal)).resolves.toMatchObject({ key: "unverified" });
    const { newapi } = tenant();
    const desired = desire(tenantUser().build(), tenant({ newapi: { ...newapi, verifyKey: false } }));
    await expect(secretStep.up(bench.context(row, undefined, { desired }), bench.signal)).resolves.toMatchObject({
      key: "unverified",
    });
  });
});

describe("going down", () => {
  test("removes it by its uid", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    expect(await secretStep.down(bench.context(after), "remove", bench.signal)).toEqual({ secretUID: null });
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
  });

  test("one that was posted and not recorded goes too: its place was noted before", async () => {
    const { bench, row } = await withAccount();
    await up(bench, row);
    const noted = { ...row, secretNamespace: "tenant-a", secretName: NAME };
    await secretStep.down(bench.context(noted), "remove", bench.signal);
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
  });

  test("both go when it was to move, and the new one was posted and not recorded", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    const place = { namespace: "tenant-a", name: "newapi-key-mine" };
    const moving = { ...after, secretPlaces: [place] };
    await up(bench, { ...moving, secretNamespace: undefined, secretName: undefined }, { secret: { name: place.name } });
    expect(plain(bench, place.name)).toMatchObject({ "api-key": "sk-key-1" });
    await secretStep.down(bench.context(moving), "remove", bench.signal);
    expect(bench.cluster.secret("tenant-a", NAME)).toBeUndefined();
    expect(bench.cluster.secret("tenant-a", place.name)).toBeUndefined();
  });

  test("a foreign one where it was to move stays", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    bench.cluster.applySecret("tenant-a", "newapi-key-mine", { x: "theirs" });
    const places = [{ namespace: "tenant-a", name: "newapi-key-mine" }];
    await secretStep.down(bench.context({ ...after, secretPlaces: places }), "remove", bench.signal);
    expect(plain(bench, "newapi-key-mine")).toEqual({ x: "theirs" });
  });

  test("a foreign one of that name stays", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    bench.cluster.removeSecret("tenant-a", NAME);
    bench.cluster.applySecret("tenant-a", NAME, { x: "theirs" });
    await secretStep.down(bench.context(after), "remove", bench.signal);
    expect(plain(bench)).toEqual({ x: "theirs" });
  });

  test("what is not there, or never was, is undone", async () => {
    const { bench, row } = await withAccount();
    expect(await secretStep.down(bench.context(row), "remove", bench.signal)).toEqual({});
    const noted = { ...row, secretNamespace: "tenant-a", secretName: NAME };
    expect(await secretStep.down(bench.context(noted), "remove", bench.signal)).toEqual({ secretUID: null });
    expect(bench.wrote).toEqual([]);
  });

  test("rights that went with the namespace are its end; rights that are only missing are not", async () => {
    const { bench, row } = await withAccount();
    const after = await up(bench, row);
    const refused = new TerminalError({ code: "MissingPermission", upstreamStatus: 403, message: "No." });
    bench.cluster.break("getSecret", refused);
    await expect(secretStep.down(bench.context(after), "remove", bench.signal)).rejects.toBe(refused);
    bench.cluster.setNamespaceActive("tenant-a", false);
    await expect(secretStep.down(bench.context(after), "remove", bench.signal)).resolves.toEqual({ secretUID: null });
  });
});
