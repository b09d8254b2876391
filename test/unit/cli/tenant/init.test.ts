import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import * as z from "zod";

import { runCLI } from "../../../support/cli.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-init-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ADDRESSES = [
  "--git-url=https://git.example/acme/people.git",
  "--keycloak-url=https://sso.example",
  "--newapi-url=https://llm.example",
];

const run = (...args: readonly string[]) => runCLI(["tenant", ...args], { env: { KUBECONFIG: "/nowhere/kubeconfig" } });

const init = (...args: readonly string[]) =>
  run("init", "acme", `--out=${join(folder, "acme")}`, ...ADDRESSES, ...args);
const read = (file: string): string => readFileSync(join(folder, "acme", file), "utf8");
const specOf = (file: string): unknown => z.looseObject({ spec: z.unknown() }).parse(parse(read(file))).spec;

describe("tenant init", () => {
  it("writes every file that its kustomization names, and no variable is left", async () => {
    expect((await init("--external-secrets", "--notifications")).code).toBe(0);
    const { resources } = z.looseObject({ resources: z.array(z.string()) }).parse(parse(read("kustomization.yaml")));
    expect(readdirSync(join(folder, "acme")).toSorted()).toEqual(["kustomization.yaml", ...resources].toSorted());
    for (const file of resources) expect(read(file)).not.toContain("${");
  });

  it("names the master keys where the gateway's dialect needs them, and nowhere else", async () => {
    expect((await init()).out).not.toContain("master-keys");
    const out = join(folder, "other");
    const made = await run("init", "acme", `--out=${out}`, ...ADDRESSES, "--dialect=new-api");
    expect(made.code).toBe(0);
    expect(made.out).toContain("create secret generic unified-rbac-master-keys --from-file=keys=./master-keys");
  });

  it("puts what was asked for into the Tenant, and the rest as it is shipped", async () => {
    await init("--email-domain", "acme.example", "acme.test", "--allow-group=/devs", "--max-users=20", "--grace=30d");
    expect(specOf("tenant.yaml")).toMatchObject({
      tenantID: "acme",
      namespaces: ["tenant-acme"],
      keycloak: { url: "https://sso.example", realm: "acme", credentialsSecretName: "acme-keycloak" },
      newapi: {
        dialect: "admin-v1",
        url: "https://llm.example",
        publicBaseURL: "https://llm.example",
        tier: "default",
      },
      deletionGrace: "30d",
      limits: { maxUsers: 20 },
      allow: { groups: ["/devs"], emailDomains: ["acme.example", "acme.test"] },
    });
    expect(read("tenant.yaml")).toContain("# Somebody who was removed by mistake");
  });

  it("does what the platform guide shows, as it is written there", async () => {
    const guide = readFileSync(join(import.meta.dirname, "../../../../docs/platform-guide.md"), "utf8");
    const [, command = ""] = /^unified-rbac tenant (init (?:.*\\\n)*.*)$/m.exec(guide) ?? [];
    const args = command.split(/[\s\\]+/);
    expect(args.slice(0, 2)).toEqual(["init", "acme"]);
    expect(await run(...args, `--out=${join(folder, "acme")}`)).toMatchObject({ code: 0, err: "" });
  });

  it.each(["no", "on", "y", "null", "123", "1e3", "0x1f", "2026-01-01", "0o17", "1-2"])(
    "writes a tenant named %s as text for every reader",
    async (name) => {
      const out = join(folder, "acme");
      expect(
        (await run("init", name, `--namespace=${name}`, `--git-branch=${name}`, `--out=${out}`, ...ADDRESSES)).code,
      ).toBe(0);
      for (const file of [
        "tenant.yaml",
        "namespace.yaml",
        "sync.yaml",
        "secrets-rbac.yaml",
        "flux-rbac.yaml",
        "quota.yaml",
      ]) {
        for (const version of ["1.1", "1.2"] as const) {
          for (const document of parseAllDocuments(read(file), { version })) {
            const { metadata } = z
              .looseObject({ metadata: z.looseObject({ name: z.string() }) })
              .parse(document.toJS());
            expect(typeof (metadata["namespace"] ?? "")).toBe("string");
          }
        }
        // go-yaml knows more numbers than either: the word stands nowhere without quotes.
        expect(
          read(file)
            .split("\n")
            .filter((line) => line.endsWith(` ${name}`)),
        ).toEqual([]);
      }
      expect(specOf("tenant.yaml")).toMatchObject({ tenantID: name, namespaces: [name] });
    },
  );

  it("keeps seven days of grace unless told otherwise", async () => {
    await init();
    expect(specOf("tenant.yaml")).toMatchObject({ deletionGrace: "7d" });
  });

  it("leaves a directory that holds anything as it is", async () => {
    await init();
    writeFileSync(join(folder, "acme", "tenant.yaml"), "mine");
    const again = await init();
    expect(again.code).toBe(2);
    expect(again.err).toContain("is there and not empty");
    expect(read("tenant.yaml")).toBe("mine");
  });

  it.each([
    ["Acme", ADDRESSES, /The tenant's name must be lower-case letters/],
    ["acme", ADDRESSES.with(0, "--git-url=nowhere"), /The Git URL must be an address/],
    ["acme", ADDRESSES.with(0, "--git-url=https://me:hunter2@git.example/x"), /must hold no password/],
    ["acme", ADDRESSES.with(1, "--keycloak-url=https://sso.example/"), /spec\.keycloak\.url: must be an http or https/],
    ["acme", [...ADDRESSES, "--grace=soon"], /spec\.deletionGrace: must be a span of time/],
    ["acme", [...ADDRESSES, "--realm=master"], /must not be master/],
    ["acme", [...ADDRESSES, "--tier=a: b"], /NEWAPI_TIER must be plain text/],
    ["acme", [...ADDRESSES, "--git-path=./x\nkind: ClusterRole"], /GIT_PATH must be plain text/],
    ["acme", [...ADDRESSES, "--dialect=v2"], /Allowed choices are admin-v1, new-api/],
    ["acme", ADDRESSES.slice(1), /required option '--git-url <url>'/],
  ])("writes nothing for %s %j", async (name, args, message) => {
    const { code, err } = await run("init", name, `--out=${join(folder, "acme")}`, ...args);
    expect(err).toMatch(message);
    expect(err).not.toContain("hunter2");
    expect(code).toBe(2);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("prints how to make realm and Secrets, and never a Secret of kind Secret among the files", async () => {
    const { out } = await init("--dialect=new-api");
    expect(out).toContain("kcadm.sh update users/profile -r acme -s unmanagedAttributePolicy=ADMIN_EDIT");
    expect(out).toContain("create secret generic acme-newapi --from-file=token=./token --from-file=user-id=./user-id");
    for (const file of readdirSync(join(folder, "acme"))) expect(read(file)).not.toMatch(/^kind: Secret$/m);
  });

  it("names the store's entries instead where the Secrets come from there", async () => {
    const { out } = await init("--external-secrets", "--secret-path=platform/acme");
    expect(out).toContain("platform/acme/keycloak: client-id, client-secret");
    expect(out).not.toContain("create secret generic");
    expect(read("external-secrets.yaml")).toContain("key: platform/acme/newapi");
  });
});

describe("help", () => {
  it.each([["init"], ["check"], ["offboard"]])("of %s has an example and the exit codes", async (name) => {
    const { code, out } = await run(name, "--help");
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`Example:\\n  unified-rbac tenant ${name} acme`));
    expect(out).toContain("Exit codes: 0 done");
  });

  it("is what a wrong call gets, with 2", async () => {
    expect((await run()).code).toBe(2);
    expect((await run("forget")).code).toBe(2);
    expect((await run("offboard", "acme", "--timeout=soon")).code).toBe(2);
  });
});

it("says that the kubeconfig cannot be read in one sentence, with 3", async () => {
  const { code, err } = await run("check", "acme");
  expect({ code, lines: err.trim().split("\n").length }).toEqual({ code: 3, lines: 1 });
});
