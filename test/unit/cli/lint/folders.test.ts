import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lintFiles, lintFolder, userYAML } from "../../../support/lint.ts";

describe("what stands in the repository twice", () => {
  it("an address, whatever its capitals", async () => {
    const { code, out } = await lintFiles({
      "ada.yaml": userYAML("ada", { email: "Ada@Acme.example " }),
      "team/bob.yaml": userYAML("bob", { email: "ada@acme.example" }),
    });
    expect(out).toEqual([
      "team/bob.yaml:6:10: spec.email: is the address of TenantUser ada too, in ada.yaml:6 (one address is one person: this one would wait for ever; remove one, or change its address)",
    ]);
    expect(code).toBe(1);
  });

  it("a name, in one namespace", async () => {
    const files = { "a.yaml": userYAML("ada"), "b.yaml": userYAML("ada", { email: "b@acme.example" }) };
    expect((await lintFiles(files)).out).toEqual([
      "b.yaml:4:9: metadata.name: TenantUser ada stands in a.yaml:4 already (one of the two would overwrite the other: give it another name, or remove it)",
    ]);
    const apart = {
      "a.yaml": userYAML("ada", {}, { namespace: "one" }),
      "b.yaml": userYAML("ada", { email: "b@acme.example" }, { namespace: "two" }),
    };
    expect((await lintFiles(apart)).out).toEqual([]);
    // Flux would put both into the same one.
    expect((await lintFiles(apart, "--namespace=tenant-acme", ".")).out).toHaveLength(1);
  });

  it("a uuid, and a Secret's name", async () => {
    const both = { userUUID: "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90", secret: { name: "newapi-key-x" } };
    const { out } = await lintFiles({ "a.yaml": userYAML("ada", both), "b.yaml": userYAML("bob", both) });
    expect(out).toEqual([
      expect.stringContaining("b.yaml:7:13: spec.userUUID: is the uuid of TenantUser ada too, in a.yaml:7"),
      expect.stringContaining("b.yaml:9:11: spec.secret.name: is the Secret of TenantUser ada too, in a.yaml:9"),
    ]);
  });
});

describe("a folder", () => {
  it("is walked as Flux does: no links, YAML only, also what begins with a dot, and nothing that Flux ignores", async () => {
    const made = lintFolder({
      "a/b/c.yml": userYAML("ada"),
      "notes.txt": userYAML("x", { email: "x" }),
      ".archive/eve.yaml": userYAML("eve"),
      ".github/workflows/lint.yaml": userYAML("x", { email: "x" }),
      "outside.txt": "",
    });
    symlinkSync(join(made.dir, "outside.txt"), join(made.dir, "a/link.yaml"));
    expect(await made.lint(".")).toMatchObject({ code: 0, err: "2 manifests checked: 0 errors, 0 warnings\n" });
  });

  it("with a kustomization is what that names; patches are no manifests, what is forgotten is told", async () => {
    const kustomization =
      "resources:\n  - ada.yaml\n  - ../base\n  - https://example.com/x.yaml\npatches:\n  - path: patch.yaml\n";
    const { code, out, err } = await lintFiles(
      {
        "live/kustomization.yaml": kustomization,
        "live/ada.yaml": userYAML("ada"),
        "live/patch.yaml": userYAML("ada", { email: undefined, enabled: false }),
        "live/deep/forgotten.yaml": userYAML("eve"),
        "live/values.yaml": "a: 1\n",
        "base/kustomization.yaml": "resources: [bob.yaml]\n",
        "base/bob.yaml": userYAML("bob"),
      },
      "./live",
    );
    expect(out).toEqual([
      "live/deep/forgotten.yaml:2:7: warning: this file is not named in live/kustomization.yaml, so it is not applied (add deep/forgotten.yaml to its resources)",
    ]);
    expect(err).toContain("2 manifests checked");
    expect(code).toBe(0);
  });

  it("with a kustomization that names what is not there is refused", async () => {
    expect((await lintFiles({ "kustomization.yaml": "resources:\n  - a.yaml\n" })).out).toEqual([
      "kustomization.yaml:2:5: resources[0]: there is no a.yaml here, so nothing of this folder is applied",
    ]);
  });

  it("with a kustomization that reaches for a file elsewhere is refused, as kustomize does", async () => {
    const files = { "live/kustomization.yaml": "resources: [../a.yaml]\n", "a.yaml": userYAML("ada") };
    expect((await lintFiles(files, "./live")).out).toEqual([
      "live/kustomization.yaml:1:13: resources[0]: is a file outside of this folder, and kustomize takes none from there (name a folder with a kustomization of its own)",
    ]);
  });

  it("and a file within it are looked at once", async () => {
    const made = lintFolder({ "users/ada.yaml": userYAML("ada") });
    expect(await made.lint("./users", "./users/ada.yaml", `${made.dir}/users/../users/ada.yaml`)).toMatchObject({
      code: 0,
      err: "1 manifest checked: 0 errors, 0 warnings\n",
    });
  });

  it("of a thousand people takes a second or so", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 1000 }, (_, n) => [`users/p${n}.yaml`, userYAML(`p${n}`, { groups: ["a", "b"] })]),
    );
    expect((await lintFiles(files)).err).toBe("1000 manifests checked: 0 errors, 0 warnings\n");
  });
});
