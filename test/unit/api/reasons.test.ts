/** One catalogue of reasons: whatever is raised has its entry, every entry is raised, and each is fit to be shown. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CONDITION, fillCommand, REASON, REASON_SECTIONS, REASONS, reasonEntry } from "../../../src/api/reasons.ts";
import { ACTORS, type ReasonEntries } from "../../../src/api/reasons/entry.ts";
import { reasonSections, replaceBetweenMarkers } from "../../../src/api/reasonPages.ts";

const SRC = join(import.meta.dirname, "../../../src");
const ALL = Object.entries(REASONS);
/** Codes of errors that never become a reason: an event that NATS refuses is parked, with a sentence. */
const NO_REASONS = ["EventRefused"];

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.startsWith("api/reasons") && file !== "api/reasonPages.ts")
  .map((file) => readFileSync(join(SRC, file), "utf8"));
const inSources = (pattern: RegExp): string[] => [
  ...new Set(sources.flatMap((text) => Array.from(text.matchAll(pattern), ([, word = ""]) => word))),
];

describe("the reasons", () => {
  test("that src raises have an entry each", () => {
    const raised = [...inSources(/\bREASON\.([A-Za-z]+)/g), ...inSources(/\b(?:code|reason): "([A-Z][A-Za-z]+)"/g)];
    expect(raised.length).toBeGreaterThan(50);
    expect(raised.filter((reason) => !(reason in REASONS) && !NO_REASONS.includes(reason))).toEqual([]);
  });

  test("of the catalogue are all raised by src", () => {
    const named = new Set([...inSources(/\bREASON\.([A-Za-z]+)/g), ...inSources(/"([A-Z][A-Za-z]+)"/g)]);
    expect(Object.keys(REASONS).filter((reason) => !named.has(reason))).toEqual([]);
  });

  test("stand in one section each, and are their own words", () => {
    const words = REASON_SECTIONS.flatMap(({ entries }: { entries: ReasonEntries }) => Object.keys(entries));
    expect(words.toSorted()).toEqual(Object.keys(REASONS).toSorted());
    expect(Object.entries(REASON).filter(([key, word]) => key !== word)).toEqual([]);
    expect(Object.entries(CONDITION).filter(([key, word]) => key !== word)).toEqual([]);
    expect(words.filter((word) => !/^[A-Z][A-Za-z]+$/.test(word))).toEqual([]);
  });

  test("mean one thing each", () => {
    expect(new Set(ALL.map(([, { meaning }]) => meaning)).size).toBe(ALL.length);
  });

  test("that no entry has still get an answer", () => {
    expect(reasonEntry("FluxCapacitor").meaning).toContain("does not know that reason");
    expect(reasonEntry("toString").meaning).toContain("does not know that reason");
  });
});

describe.each(ALL)("%s", (_reason, { meaning, detail, actor, actorNote, check, fix, command, alternative }) => {
  test("is told in whole sentences", () => {
    for (const text of [meaning, detail ?? "X."]) expect(text).toMatch(/^[`A-Z].{20,}\.$|^X\.$/s);
    expect(fix).toMatch(/^[A-Z].{10,}:$/s);
    expect(check).toMatch(/^(The |`)/);
    expect(alternative ?? "x.").toMatch(/[.`)]$/);
    expect(actorNote ?? "x").not.toMatch(/\.$/);
    expect(ACTORS).toContain(actor);
    for (const text of [meaning, detail, check, fix, command, alternative])
      expect(text ?? "x").not.toMatch(/\s\s|\s$|\n/);
  });

  test("has one command for a shell, whose words to fill in stand outside of quotes", () => {
    expect(command).toMatch(/^kubectl [^\n`]+$/);
    expect(command.replaceAll(/'[^']*'/g, "").match(/'/)).toBeNull();
    const filled = fillCommand(command, { NAME: "ada", NS: "n", TENANT: "t", SECRET: "s", OPERATOR: "o" });
    expect(filled).not.toMatch(/\b(NAME|NS|TENANT|SECRET|OPERATOR)\b/);
    // What is no name of an object stays to be filled in.
    expect(fillCommand(command, { NAME: "a; rm", NS: "--help" })).toBe(command);
  });
});

describe("the runbook's part", () => {
  const page = reasonSections();

  test("prints the very commands of tenant check, with words to fill in", () => {
    expect(page).toContain("kcadm.sh create clients -r REALM -s clientId=unified-rbac");
    expect(page).toContain("kubectl -n NS create role unified-rbac-secrets --verb=get,list,watch,create,update,delete");
    expect(page).not.toMatch(/\bOPERATOR\b/);
  });

  test("replaces what stands between its markers, and nothing else", () => {
    const markers = ["<!-- BEGIN GENERATED: x (npm run generate) -->", "<!-- END GENERATED: x -->"] as const;
    const before = `by hand\n\n${markers[0]}\n\nold\n\n${markers[1]}\n\nby hand too\n`;
    expect(replaceBetweenMarkers(before, "x", "new")).toBe(before.replace("old", "new"));
    expect(() => replaceBetweenMarkers(before, "y", "new")).toThrow("the markers of y are missing");
  });
});
