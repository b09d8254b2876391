/** What we write as YAML is read as it was meant by kubectl (YAML 1.1), by kustomize (go-yaml v3) and by YAML 1.2. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Document, parse, parseAllDocuments } from "yaml";
import * as z from "zod";
import { documentText, toYAML } from "../../src/lib/yaml.ts";
import { findProgram } from "../../stack/obtain/found.ts";
import { goParts, obtainGoPart } from "../../stack/obtain/go.ts";
import { renderTenant, renderTenantSecrets, type TenantValues } from "../../stack/tenant.ts";

let kubectl: string;
beforeAll(async () => {
  const part = goParts.find(({ name }) => name === "kubernetes");
  const built =
    part && findProgram("kubectl") === undefined ? (await obtainGoPart(part, () => {})).programs : undefined;
  kubectl = findProgram("kubectl") ?? built?.get("kubectl") ?? "kubectl";
}, 900_000);

const object = z.looseObject({ data: z.record(z.string(), z.unknown()) });

/** As `kubectl apply` reads it, without a cluster. */
function asKubectl(text: string): unknown {
  const args = ["patch", "--local", "--type=merge", "-p={}", "-o=json", "-f=-"];
  return JSON.parse(execFileSync(kubectl, args, { encoding: "utf8", input: text, maxBuffer: 64 << 20, stdio: "pipe" }));
}

function asKustomize(text: string): unknown {
  const dir = mkdtempSync(join(tmpdir(), "unified-rbac-yaml-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, "written.yaml"), text);
  writeFileSync(join(dir, "kustomization.yaml"), "resources: [written.yaml]\n");
  // Its own writer leaves line breaks of YAML 1.1 as they are, so what it has read is asked of a reader without them.
  return parse(execFileSync(kubectl, ["kustomize", dir], { encoding: "utf8", maxBuffer: 64 << 20, stdio: "pipe" }));
}

const WORDS =
  "y Y n N yes Yes YES no No NO on On ON off Off OFF true True TRUE false null Null ~ 1e3 1E3 0o17 017 0x1F 0b11 1_000 +1 -1 .5 5. .inf -.Inf .nan 12:30 190:20:30 12:30:45.5 2026-01-01 2026-01-01T10:00:00Z = << - -- --- ... ? : ! !!str & * | > % @ ` # [] {} ";
const EDGES = [
  "",
  " ",
  " a",
  "a ",
  "a: b",
  "a #b",
  "a\nb",
  "a\n",
  "\na",
  "  a\n b",
  "a\n\n",
  "a \nb",
  "\t",
  "a\tb",
  "'",
  '"',
  "\\",
  "\u0085",
  "a\u0085b",
  "\u2028",
  "\u2029x",
  "\ufeff",
  "é",
  "日本",
  "🙂",
  "a".repeat(300),
  "word ".repeat(60),
  "$x",
  "${A}",
  "{{x}}",
];

const pieces = fc.constantFrom(...Array.from("01289_.-+eExobaFyYnN:=<~ \n\t'\"#&*?|>%@`[]{},!$\\é\u0085\u2028"));
const texts = fc.oneof(
  fc.constantFrom(...WORDS.split(" "), ...EDGES),
  fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join("")),
);

describe("a text", () => {
  it("is the same text to every reader, as a value", () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
    const all = [...WORDS.split(" "), ...EDGES, ...fc.sample(texts, { numRuns: 1500, seed })];
    const readers = [asKubectl, parse, (text: string) => parse(text, { version: "1.1" })];
    const written = (texts: readonly string[]) => {
      const data = Object.fromEntries(texts.map((text, n) => [`k${n}`, text]));
      return { data, yaml: toYAML({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "texts" }, data }) };
    };
    const { data, yaml } = written(all);
    for (const read of readers) expect(object.parse(read(yaml)).data, `SEED=${seed}`).toEqual(data);
    // kustomize reads the rest rightly too, and then writes what is a line break to YAML 1.1 as one.
    const even = written(all.filter((text) => !/[\u0085\u2028\u2029\ufeff]/.test(text)));
    expect(object.parse(asKustomize(even.yaml)).data, `SEED=${seed}`).toEqual(even.data);
  });

  it("is the same text as a key", () => {
    const keys = WORDS.split(" ").filter((word) => /^[-._a-zA-Z0-9]+$/.test(word) && !/^\.+$/.test(word));
    const data = Object.fromEntries(keys.map((key) => [key, key]));
    const written = toYAML({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "texts" }, data });
    for (const read of [asKubectl, asKustomize, parse]) expect(object.parse(read(written)).data).toEqual(data);
  });

  it("that is plain stays plain, and numbers and truth are what they are", () => {
    expect(toYAML({ name: "tenant-acme", url: "https://sso.example/x", path: "./users", count: 3, on: true })).toBe(
      'name: tenant-acme\nurl: https://sso.example/x\npath: ./users\ncount: 3\n"on": true\n',
    );
  });

  it("keeps its comments in a document that was made", () => {
    const document = new Document({ name: "no" });
    document.commentBefore = " whose";
    expect(documentText(document)).toBe('# whose\n\nname: "no"\n');
  });
});

describe("the onboarding of a tenant", () => {
  const values = (word: string): TenantValues => ({
    TENANT: word,
    NAMESPACE: word,
    GIT_URL: "https://git.example/x.git",
    GIT_BRANCH: word,
    KEYCLOAK_URL: "https://sso.example",
    KEYCLOAK_REALM: word,
    NEWAPI_URL: "https://llm.example",
  });
  const credentials = (word: string) => ({
    keycloak: { clientID: word, clientSecret: word },
    newapi: { token: word, userID: word },
    git: { username: word, password: word },
  });

  it.each(["no", "on", "y", "null", "123", "1e3"])(
    "of a tenant and with passwords %s says the same to kubectl",
    (word) => {
      const text = `${renderTenantSecrets(values(word), credentials(word))}---\n${renderTenant(values(word))}`;
      for (const document of parseAllDocuments(text)) {
        const meant = z.looseObject({ apiVersion: z.string() }).parse(document.toJS());
        // What is no built-in kind cannot be patched locally; its fields are read by the same reader.
        const known = meant.apiVersion.includes("openova") || meant.apiVersion.includes("flux");
        const asText = known
          ? `${toYAML({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" } })}data:\n${document
              .toString()
              .replace(/^---\n/, "")
              .replaceAll(/^/gm, "  ")}`
          : document.toString();
        const read = asKubectl(asText);
        expect(read).toMatchObject(known ? { data: meant } : meant);
      }
    },
  );
});
