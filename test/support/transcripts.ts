/** Terminal transcripts in docs/kubectl-tenantuser.md: taken from a real run, with what differs from run to run masked. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { wrapped } from "../../src/plugin/text.ts";
import { projectRoot } from "../../stack/paths.ts";

const PAGE = join(projectRoot, "docs", "kubectl-tenantuser.md");
const BEGIN = "<!-- transcripts: begin (npm run transcripts) -->";
const END = "<!-- transcripts: end -->";

export interface Transcript {
  readonly title: string;
  readonly line: string;
  readonly out: string;
}

/** `tenant` is the id that the tenant had in this run. */
export function masked(text: string, tenant: string): string {
  return text
    .replaceAll(tenant, "acme")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
    .replaceAll(/usr_[0-9a-f]+/g, "<account>")
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "2026-05-01 12:00:00")
    .replaceAll(/\d+ (?:s|min) ago/g, "7 s ago");
}

/** A paragraph is wrapped again: a masked word is of another length. */
export function maskedParagraph(text: string, tenant: string): string {
  const [paragraph = "", ...rest] = text.split("\n\n");
  return [wrapped(masked(paragraph.replaceAll("\n", " "), tenant), 100), masked(rest.join("\n\n"), tenant)].join(
    "\n\n",
  );
}

export function sectionOf(transcripts: readonly Transcript[]): string {
  const parts = transcripts.map(
    ({ title, line, out }) => `${title}\n\n\`\`\`console\n$ ${line}\n${out.trimEnd()}\n\`\`\``,
  );
  return [BEGIN, ...parts, END].join("\n\n");
}

export function sectionInPage(): string {
  const page = readFileSync(PAGE, "utf8");
  return page.slice(page.indexOf(BEGIN), page.indexOf(END) + END.length);
}

export function writeSection(section: string): void {
  writeFileSync(
    PAGE,
    readFileSync(PAGE, "utf8").replace(sectionInPage(), () => section),
  );
}
