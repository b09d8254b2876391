/** What lint has to say, and about which place. */

/** From 1, as editors count; `end` is the first character behind. Columns count UTF-16 units, as editors and SARIF do. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** `error`: the cluster refuses it, or it can never become Ready. `warning`: it is taken, and hardly what was meant. */
export type Severity = "error" | "warning";

export interface LintFinding extends SourcePlace {
  readonly severity: Severity;
  /** The name of the rule in src/api/rules, or a word of lint's own; the same for every finding of its sort. */
  readonly rule: string;
  /** One sentence, the field first. */
  readonly message: string;
  /** How to fix it, where the sentence does not say. */
  readonly hint?: string;
}

/** By file, line and column; what stands at one place keeps its order. */
export function inOrder(findings: readonly LintFinding[]): LintFinding[] {
  return findings.toSorted(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  );
}
