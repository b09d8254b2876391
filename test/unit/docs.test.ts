/** The pages hang together: every reason has its entry, every link leads somewhere. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it, test } from "vitest";

import { REASON } from "../../src/api/reasons.ts";
import { migrateEnv, reconcilerEnv, webhookEnv } from "../../src/lib/configVariables.ts";
import { tracingEnv } from "../../src/lib/tracingConfig.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const pagesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));

const PAGES = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "certs/README.md",
  "stack/README.md",
  ...pagesIn("docs"),
  ...pagesIn("flux"),
];

/** Without fenced blocks and inline code, where nothing is a link or a heading. */
const prose = (text: string): string => text.replaceAll(/^ *```[\s\S]*?^ *```/gm, "");

/** As Git forges make them of headings. */
function anchors(text: string): ReadonlySet<string> {
  const found = new Map<string, number>();
  const result = new Set<string>();
  for (const [, heading = ""] of prose(text).matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");
    const times = found.get(slug) ?? 0;
    found.set(slug, times + 1);
    result.add(times === 0 ? slug : `${slug}-${times}`);
  }
  return result;
}

function linksOf(page: string): string[] {
  const text = prose(read(page)).replaceAll(/`[^`\n]*`/g, "");
  const inline = Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target);
  const named = Array.from(text.matchAll(/^\[[^\]]+\]: (\S+)/gm), ([, target = ""]) => target);
  return [...inline, ...named];
}

describe("the runbook", () => {
  const sections = new Map(
    read("docs/runbook.md")
      .split(/^### /m)
      .slice(1)
      .map((section) => [section.split("\n", 1)[0] ?? "", section] as const),
  );

  it.each(Object.values(REASON))(
    "has an entry for %s, at its own name: who acts, where to look, how to fix it",
    (reason) => {
      const section = sections.get(reason) ?? "";
      for (const part of ["Who acts", "Check", "Fix"])
        expect(section).toMatch(new RegExp(`^- \\*\\*${part}:\\*\\* \\S`, "m"));
      expect(anchors(read("docs/runbook.md"))).toContain(reason.toLowerCase());
    },
  );

  it("has one heading for one anchor, so that a link from outside means one thing", () => {
    const headings = Array.from(prose(read("docs/runbook.md")).matchAll(/^#{1,6} (.+)$/gm), ([, text = ""]) =>
      text.toLowerCase(),
    );
    const reasons = new Set<string>(Object.values(REASON).map((reason) => reason.toLowerCase()));
    expect(headings.filter((text, index) => reasons.has(text) && headings.indexOf(text) !== index)).toEqual([]);
  });

  it("has an entry for every alert that is shipped", () => {
    const alerts = Array.from(
      read("manifests/monitoring/rules.yaml").matchAll(/- alert: (\w+)/g),
      ([, name = ""]) => name,
    );
    expect(alerts.length).toBeGreaterThan(5);
    expect(alerts.filter((name) => !read("docs/runbook.md").includes(`\n### ${name}\n`))).toEqual([]);
  });
});

describe("the page on configuration", () => {
  const rows = Array.from(
    read("docs/configuration.md").matchAll(/^\| `(\w+)` +\| ([WRM, ]+?) +\|/gm),
    ([, name = "", roles = ""]) => ({ name, roles: roles.split(", ") }),
  );

  it.each([
    ["W", webhookEnv.shape],
    ["R", reconcilerEnv.shape],
    ["M", migrateEnv.shape],
  ] as const)("has every variable of role %s, and no other", (role, shape) => {
    const listed = rows.filter(({ roles }) => roles.includes(role)).map(({ name }) => name);
    // What a mounted file can stand in for, and what is parsed apart.
    const known = Object.keys(shape).filter((name) => !listed.includes(name));
    const unknown = listed.filter((name) => !(name in shape) && !/_FILE$|^MASTER_KEYS$/.test(name));
    expect({ known, unknown }).toEqual({ known: [], unknown: [] });
  });
});

test("the page on tracing has every variable that is read for it", () => {
  const page = read("docs/tracing.md");
  expect(Object.keys(tracingEnv.shape).filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

describe("links", () => {
  it.each(PAGES)("of %s lead to files and headings that are there", (page) => {
    const broken = linksOf(page).filter((link) => {
      if (/^[a-z]+:/.test(link)) return false;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : relative(ROOT, join(ROOT, dirname(page), path));
      if (!existsSync(join(ROOT, target))) return true;
      if (anchor === undefined) return false;
      return statSync(join(ROOT, target)).isDirectory() || !anchors(read(target)).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("from code, tests and manifests lead to pages and headings that are there", () => {
    const folders = ["src", "build", "release", "test", "bench", "stack", "manifests", "flux"];
    const files = folders.flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
        .filter((name) => /\.(ts|mjs|sql|ya?ml)$/.test(name) && !name.includes("node_modules"))
        .map((name) => join(folder, name)),
    );
    const mentioned = new Set(
      [...files, "Makefile", "Dockerfile"].flatMap((file) =>
        Array.from(read(file).matchAll(/\b(?:docs|certs)\/[\w./-]+\.md(?:#[\w-]+)?/g), ([link]) => `${file}: ${link}`),
      ),
    );
    expect(mentioned.size).toBeGreaterThan(20);
    const broken = [...mentioned].filter((each) => {
      const [path = "", anchor] = (each.split(": ")[1] ?? "").split("#");
      return !existsSync(join(ROOT, path)) || (anchor !== undefined && !anchors(read(path)).has(anchor));
    });
    expect(broken).toEqual([]);
  });

  it.each(PAGES)("of %s: files that it names by their path are there", (page) => {
    const named = Array.from(
      read(page).matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:ts|mjs|sql|md|yaml))`/g),
      ([, path = ""]) => path,
    );
    const from = ["", "src", "stack", dirname(page)];
    const missing = named.filter((path) => !from.some((folder) => existsSync(join(ROOT, folder, path))));
    expect(missing.filter((path) => !/^(users|node_modules|dist|\.)/.test(path))).toEqual([]);
  });

  it("reach every page of docs/ from the README, and every decision from their list", () => {
    const from = (page: string): string[] =>
      linksOf(page).map((link) => relative(ROOT, join(ROOT, dirname(page), link.split("#")[0] ?? "")));
    const decisions = pagesIn("docs/adr").filter((page) => !page.endsWith("README.md"));
    expect(decisions.length).toBeGreaterThan(5);
    expect(decisions.filter((page) => !from("docs/adr/README.md").includes(page))).toEqual([]);
    const pages = pagesIn("docs").filter((page) => !page.startsWith("docs/adr/"));
    const linked = from("README.md");
    expect(pages.filter((page) => !linked.includes(page))).toEqual([]);
  });
});
