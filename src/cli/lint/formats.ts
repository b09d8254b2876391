/** How findings are written, for people and for machines. */
import type { LintFinding } from "./finding.ts";

export const FORMATS = ["text", "github", "gitea", "json", "sarif"] as const;
export type ReportFormat = (typeof FORMATS)[number];

/** Ends with a line break, or is empty. `version` is this program's, for SARIF. */
export function render(format: ReportFormat, findings: readonly LintFinding[], version: string): string {
  switch (format) {
    case "text":
      return lines(findings.map(sentenceOf));
    case "github":
      return lines(findings.map(githubLine));
    case "gitea":
      return lines(findings.map(giteaLine));
    case "json":
      return `${JSON.stringify(findings, undefined, 2)}\n`;
    case "sarif":
      return `${JSON.stringify(sarif(findings, version), undefined, 2)}\n`;
    default:
      return format satisfies never;
  }
}

const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join("");

/** `file:line:column: sentence (hint)`; control characters out of a manifest cannot reach a terminal. */
export function sentenceOf(finding: LintFinding): string {
  const { file, line, column, severity } = finding;
  return `${visible(file)}:${line}:${column}: ${severity === "warning" ? "warning: " : ""}${textOf(finding)}`;
}

function textOf({ message, hint }: LintFinding): string {
  return visible(hint === undefined ? message : `${message} (${hint})`);
}

function visible(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) =>
    JSON.stringify(character).slice(1, -1),
  );
}

const escaped = (text: string): string => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string): string => escaped(text).replaceAll(":", "%3A").replaceAll(",", "%2C");

/** A workflow command: GitHub puts it beside the line of the diff. */
function githubLine(finding: LintFinding): string {
  const { file, line, column, endLine, endColumn, severity, rule } = finding;
  const at = { file, line, col: column, endLine, endColumn, title: `unified-rbac ${rule}` };
  const properties = Object.entries(at).map(([name, value]) => `${name}=${property(String(value))}`);
  return `::${severity} ${properties.join(",")}::${escaped(textOf(finding))}`;
}

/** Gitea colours the line in the job's log by its command, and drops the properties: so the place stands in the text. */
function giteaLine(finding: LintFinding): string {
  const { file, line, column, severity } = finding;
  return `::${severity}::${visible(file)}:${line}:${column}: ${textOf(finding)}`;
}

/** SARIF 2.1.0, for code scanning. */
function sarif(findings: readonly LintFinding[], version: string): object {
  const rules = [...new Set(findings.map(({ rule }) => rule))].toSorted();
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: "unified-rbac lint", version, rules: rules.map((id) => ({ id })) } },
        columnKind: "utf16CodeUnits",
        results: findings.map((finding) => ({
          ruleId: finding.rule,
          ruleIndex: rules.indexOf(finding.rule),
          level: finding.severity,
          message: { text: textOf(finding) },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: uriOf(finding.file) },
                region: {
                  startLine: finding.line,
                  startColumn: finding.column,
                  endLine: finding.endLine,
                  endColumn: finding.endColumn,
                },
              },
            },
          ],
        })),
      },
    ],
  };
}

/** Relative to the repository, as code scanning wants it. */
const uriOf = (file: string): string => file.split("/").map(encodeURIComponent).join("/");
