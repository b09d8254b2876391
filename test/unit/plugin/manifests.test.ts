import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { UnmanagedUser } from "../../../src/api/operator.ts";
import { validateTenantUser } from "../../../src/api/validate.ts";
import { manifestsOf } from "../../../src/plugin/manifests.ts";

const unmanagedUser = (given: Partial<UnmanagedUser> = {}): UnmanagedUser => ({
  id: "kc-1",
  username: "ada",
  email: "Ada.Lovelace@acme.example",
  enabled: true,
  ...given,
});

describe("a person of the realm", () => {
  test("becomes a manifest that is valid, keeps the address as written, and names nothing that is not managed", () => {
    const { manifests } = manifestsOf([unmanagedUser({ firstName: "Ada", lastName: " ", displayName: "Ada L." })]);
    const object: unknown = parse(manifests[0]?.yaml ?? "");
    expect(object).toEqual({
      apiVersion: "catalyst.openova.io/v1alpha1",
      kind: "TenantUser",
      metadata: { name: "ada-lovelace" },
      spec: { email: "Ada.Lovelace@acme.example", displayName: "Ada L.", firstName: "Ada" },
    });
    expect(validateTenantUser(object)).toEqual([]);
  });

  test("who is locked out stays locked out", () => {
    const { manifests } = manifestsOf([unmanagedUser({ enabled: false })]);
    expect(parse(manifests[0]?.yaml ?? "")).toMatchObject({ spec: { enabled: false } });
  });

  test("who may not be adopted, or whom the schema refuses, is left out with the reason", () => {
    const { manifests, leftOut } = manifestsOf([
      unmanagedUser({ obstacle: "it holds the realm role boss" }),
      unmanagedUser({ email: "not an address" }),
      unmanagedUser({ email: undefined, obstacle: "it has no email" }),
    ]);
    expect(manifests).toEqual([]);
    expect(leftOut).toMatchObject([
      { who: "Ada.Lovelace@acme.example", why: "it holds the realm role boss" },
      { who: "not an address", why: expect.stringMatching(/^spec\.email: /) },
      { who: "ada", why: "it has no email" },
    ]);
  });

  test("whose name is taken gets a number, and one without letters a word", () => {
    const emails = ["ada@a.example", "ADA@b.example", "王@c.example", "-.-@d.example"];
    const { manifests } = manifestsOf(emails.map((email) => unmanagedUser({ email })));
    expect(manifests.map(({ name }) => name).slice(0, 2)).toEqual(["ada", "ada-2"]);
    expect(manifests.every(({ name }) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name))).toBe(true);
  });

  test("cannot write another manifest into the file by a name", () => {
    const evil = "x\n---\nkind: ClusterRole\n# ";
    const { manifests } = manifestsOf([unmanagedUser({ id: evil, displayName: evil, firstName: evil })]);
    for (const { yaml } of manifests) expect(parse(yaml)).toMatchObject({ kind: "TenantUser" });
  });
});
