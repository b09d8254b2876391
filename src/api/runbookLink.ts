/** Where the sections of the runbook are read, until an overlay says otherwise (docs/observability.md). */
const RUNBOOK = "https://git.example.com/platform/unified-rbac/src/branch/main/docs/runbook.md";

/** Each alert has a section of its own name. */
export const runbookURL = (alert: string): string => `${RUNBOOK}#${alert.toLowerCase()}`;
