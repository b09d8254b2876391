import { describe, expect, it } from "vitest";
import { sentence, validateTenantUser } from "../../../../src/api/validate.ts";
import { lintFiles, lintText, userYAML } from "../../../support/lint.ts";
import { cases, objectOf } from "../../api/cases.ts";

describe("a manifest that is well", () => {
  it("gives no finding and exit code 0", async () => {
    expect(await lintFiles({ "ada.yaml": userYAML("ada") })).toEqual({
      code: 0,
      out: [],
      err: "1 manifest checked: 0 errors, 0 warnings\n",
    });
  });

  it("may stand among others' objects, which are passed over", async () => {
    const others =
      "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nspec: {email: 7}\n---\napiVersion: capsule.clastix.io/v1beta2\nkind: Tenant\nmetadata: {name: t}\n---\n---\n# nothing\n";
    expect((await lintFiles({ "all.yaml": `${others}---\n${userYAML("ada")}` })).err).toContain(
      "1 manifest checked: 0 errors",
    );
  });
});

describe("what the cluster refuses", () => {
  it.each(cases.filter(({ kind }) => kind === "TenantUser"))("is found: $name", async (item) => {
    // As JSON, which is YAML too: no escape and no quote gets between the case and lint.
    const object = objectOf(item);
    const { code, out } = await lintText(JSON.stringify(object), "--format=json");
    const found = JSON.parse(out.join("\n")) as { message: string; severity: string }[];
    expect(found.map(({ message }) => message).toSorted()).toEqual(
      validateTenantUser(JSON.parse(JSON.stringify(object)))
        .map(sentence)
        .toSorted(),
    );
    expect(code).toBe(item.verdict.length === 0 ? 0 : 1);
  });

  it("is found with line and column of the value, or of the name of a field that nobody knows", async () => {
    const text = `# Ada
apiVersion: catalyst.openova.io/v1alpha1
kind: TenantUser
metadata:
  name: ada
spec:
  emial: ada@acme.example
  email: ada at acme
  groups: [staff, "staff "]
  secret:
    labels:
      example.com/team: a b
      "x[0].y": "1"
  attributes: {Email: ["a"], email: ["b"]}
`;
    expect((await lintFiles({ "users/ada.yaml": text.replace("  emial: ada@acme.example\n", "") })).out).toEqual([
      "users/ada.yaml:7:10: spec.email: must be one email address such as ada@example.com, in plain ASCII; write an international domain in its xn-- form",
      "users/ada.yaml:8:19: spec.groups[1]: must be a group's name or full path: one line, without spaces around it",
      "users/ada.yaml:11:7: spec.secret.labels: must have names that Kubernetes takes for labels, such as team or example.com/team",
      "users/ada.yaml:11:25: spec.secret.labels[example.com/team]: must be a value that Kubernetes takes for a label: letters, digits, hyphens, underscores and dots, or nothing",
      "users/ada.yaml:13:15: spec.attributes: must not contain username, email, emailVerified, firstName, lastName, enabled, id, disabledReason: these have fields of their own in spec, or are Keycloak's",
    ]);
    expect((await lintFiles({ "users/ada.yaml": text })).out).toEqual([
      "users/ada.yaml:7:3: spec.emial: is no field of this kind (did you mean email?)",
    ]);
  });

  it.each([
    ["a number for text", { displayName: 12 }, "spec.displayName: must be text (put it in quotes)"],
    ["one group that is no list", { groups: "staff" }, 'spec.groups: must be a list (write it as a list: ["staff"])'],
    ["a word for a switch", { enabled: "yes" }, "spec.enabled: must be true or false (write true, without quotes)"],
    [
      "a quota in quotes",
      { newapi: { quota: "5" } },
      "spec.newapi.quota: must be a whole number (write it without quotes)",
    ],
    ["nothing at all", { displayName: null }, "spec.displayName: must be text (give it a value, or remove the line)"],
    [
      "letters exchanged",
      { dispalyName: "Ada" },
      "spec.dispalyName: is no field of this kind (did you mean displayName?)",
    ],
    ["case", { deletionPolicy: "retain" }, "spec.deletionPolicy: must be one of Delete, Retain (did you mean Retain?)"],
    [
      "a field of another world",
      { key: { colour: 1 } },
      "spec.key.colour: is no field of this kind (remove it; known here: generation, overlap)",
    ],
    ["a field left out", { email: undefined }, "spec.email: is required (add email: name@example.com below spec)"],
  ])("is hinted at: %s", async (_what, spec, message) => {
    const { out, code } = await lintText(userYAML("ada", spec));
    expect(out.map((line) => line.replace(/^<stdin>:\d+:\d+: /, ""))).toEqual([message]);
    expect(code).toBe(1);
  });

  it.each<[string, object, string]>([
    [
      "a name in capitals",
      { name: "Ada" },
      "metadata.name: must be a name that Kubernetes takes: lower-case letters, digits, hyphens and dots, at most 253",
    ],
    [
      "no name",
      { name: undefined },
      "metadata.name: is required (add name: below metadata; one name for one person, such as ada)",
    ],
    ["a name that is a number", { name: 7 }, "metadata.name: must be text (put it in quotes)"],
    ["a namespace with a dot", { namespace: "a.b" }, "metadata.namespace: must be the name of a namespace"],
    ["a label that is a switch", { labels: { a: true } }, "metadata.labels[a]: must be text (put it in quotes)"],
    [
      "a label with a dot that is a number",
      { labels: { "a.b/c": 7 } },
      "metadata.labels[a.b/c]: must be text (put it in quotes)",
    ],
    [
      "a label with a space",
      { labels: { "a b": "c" } },
      "metadata.labels[a b]: must have a name that Kubernetes takes for labels, such as team or example.com/team",
    ],
    [
      "a label's prefix with two dots",
      { labels: { "a..b/c": "" } },
      "metadata.labels[a..b/c]: must have a name that Kubernetes takes for labels, such as team or example.com/team",
    ],
    [
      "an annotation with two slashes",
      { annotations: { "a/b/c": "d" } },
      "metadata.annotations[a/b/c]: must have a name that Kubernetes takes for annotations, such as team or example.com/team",
    ],
    [
      "annotations beyond all measure",
      { annotations: { a: "x".repeat(262_144) } },
      "metadata.annotations: must not be larger than 256 KiB",
    ],
    [
      "a finalizer without a name",
      { finalizers: [""] },
      "metadata.finalizers[0]: must be a name such as example.com/finalizer",
    ],
    [
      "a field of metadata misspelled",
      { annotation: {} },
      "metadata.annotation: is no field of metadata (did you mean annotations?)",
    ],
    ["a uid", { uid: "1" }, "metadata.uid: is written by the API server; leave it out"],
  ])("is found in the metadata: %s", async (_what, metadata, message) => {
    const { out } = await lintText(userYAML("ada", {}, metadata));
    expect(out.map((line) => line.replace(/^<stdin>:\d+:\d+: /, ""))).toEqual([message]);
  });

  it("is found where the kind or the version is misspelled, or both are left out", async () => {
    const head = (text: string) => lintText(userYAML("ada").replace(/^apiVersion: .*\nkind: .*\n/, text));
    const kind = "kind: must be TenantUser or Tenant, the kinds of catalyst.openova.io";
    expect((await head("apiVersion: catalyst.openova.io/v1alpha1\nkind: TenantUsr\n")).out).toEqual([
      `<stdin>:2:7: ${kind} (did you mean TenantUser?)`,
    ]);
    expect((await head("apiVersion: catalyst.openova.io/v1\nkind: TenantUser\n")).out).toEqual([
      "<stdin>:1:13: apiVersion: must be catalyst.openova.io/v1alpha1",
    ]);
    expect((await head("kind: TenantUser\n")).out).toEqual([
      "<stdin>:1:1: apiVersion: must be catalyst.openova.io/v1alpha1",
    ]);
    expect((await head("")).code).toBe(1);
  });

  it("is found in every item of a List", async () => {
    const item = (name: string, email: string) =>
      `  - apiVersion: catalyst.openova.io/v1alpha1\n    kind: TenantUser\n    metadata: {name: ${name}}\n    spec: {email: ${email}}\n`;
    const { out, err } = await lintText(
      `apiVersion: v1\nkind: List\nitems:\n${item("ada", "ada@acme.example")}${item("bob", "bob")}`,
    );
    expect(out).toEqual([expect.stringMatching(/^<stdin>:11:19: spec\.email: must be one email address/)]);
    expect(err).toContain("2 manifests");
  });
});

describe("YAML", () => {
  it("that is none is located, and the other documents and files are checked all the same", async () => {
    const { out } = await lintFiles({
      "a.yaml": `${userYAML("ada")}---\nkind: TenantUser\n  spec: {\n`,
      "b.yaml": userYAML("bob", { email: "bob" }),
    });
    expect(out).toEqual([
      expect.stringMatching(/^a\.yaml:8:7: not YAML: /),
      expect.stringMatching(/^b\.yaml:6:10: spec\.email: /),
    ]);
  });

  it.each([
    ["a key that stands there twice", "a: 1\na: 2\n", /^<stdin>:2:1: not YAML: .*unique/],
    ["a tab", "a:\n\tb: 1\n", /^<stdin>:2:1: not YAML: .*[Tt]abs/],
    ["an alias to nothing", "a: *b\n", /^<stdin>:1:1: not YAML: /],
    ["aliases that multiply", bomb(), /^<stdin>:1:1: not YAML: Excessive alias count/],
  ])("%s is refused", async (_what, text, expected) => {
    expect((await lintText(text)).out).toEqual([expect.stringMatching(expected)]);
  });

  it("anchors and merged maps are followed, also to the place of a mistake", async () => {
    const text = `apiVersion: catalyst.openova.io/v1alpha1
kind: TenantUser
metadata: &m {name: ada}
spec:
  email: ada@acme.example
  secret:
    labels: &l {team: a b}
    annotations: *l
    keys: {<<: &k {apiKey: A}, baseURL: B}
`;
    expect((await lintText(text)).out).toEqual([
      expect.stringMatching(/^<stdin>:7:23: spec\.secret\.labels\[team\]: /),
    ]);
  });

  it("a bare No is told: Flux takes it for text, kubectl for false", async () => {
    const text = userYAML("ada").replace("spec:", "spec:\n  lastName: No");
    expect(await lintText(text)).toMatchObject({
      code: 0,
      out: [
        "<stdin>:6:13: warning: spec.lastName: No is text to Flux, and true or false to kubectl (put it in quotes)",
      ],
    });
    expect((await lintText(text, "--strict")).code).toBe(1);
    expect((await lintText(text.replace("No", '"No"'), "--strict")).out).toEqual([]);
  });

  it("a status is told to be dropped", async () => {
    expect((await lintText(`${userYAML("ada")}status: {state: done}\n`)).out).toEqual([
      "<stdin>:7:1: warning: status: is dropped by the API server: only the service writes it (remove it)",
    ]);
  });

  it("cannot write to the terminal by what stands in it", async () => {
    const { out } = await lintText(`${userYAML("ada")}"\\e[31m": 1\n`);
    expect(out.join("")).toContain("\\u001b[31m: is no field");
    expect(out.join("")).not.toContain("\u001b");
  });
});

function bomb(): string {
  const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"];
  for (let n = 1; n < 9; n += 1)
    lines.push(`a${n}: &a${n} [${Array.from({ length: 9 }, () => `*a${n - 1}`).join(", ")}]`);
  return `${lines.join("\n")}\n`;
}
