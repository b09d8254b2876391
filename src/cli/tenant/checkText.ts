import { AREAS, type CheckReport, type CheckFinding } from "./findings.ts";

const MARK: Readonly<Record<CheckFinding["level"], string>> = { missing: "x", advice: "!", unknown: "?" };

/**
 * For people: each area with what is wrong there and the commands, then the sum. A message is kept to one line: part of it
 * may be a tenant's own words, and must not look like a command of ours.
 */
export function asText({ tenant, ready, findings, areas }: CheckReport): string {
  const lines = [
    `Tenant ${tenant}: ${ready === undefined ? "not observed yet" : `Ready=${ready.status} ${ready.reason}`}`,
  ];
  for (const area of AREAS.filter((each) => areas.includes(each))) {
    const here = findings.filter((finding) => finding.area === area);
    lines.push("", here.length === 0 ? `${area}: nothing is missing` : `${area}:`);
    for (const { level, reason, message, fix } of here) {
      lines.push(
        `  ${MARK[level]} ${reason === undefined ? "" : `${reason}: `}${message.trim().replaceAll(/\s+/g, " ")}`,
      );
      lines.push(...fix.map((line) => `      ${line}`));
    }
  }
  lines.push("", sum(findings), "");
  return lines.join("\n");
}

function sum(findings: readonly CheckFinding[]): string {
  const count = (level: CheckFinding["level"]): number => findings.filter((finding) => finding.level === level).length;
  const missing = count("missing");
  const rest = [
    [count("advice"), "worth a look"],
    [count("unknown"), "could not be asked"],
  ].filter(([number]) => number !== 0);
  const first =
    missing === 0 ? "Nothing is missing" : `${missing} ${missing === 1 ? "thing is" : "things are"} missing`;
  return `${[first, ...rest.map((each) => each.join(" "))].join(", ")}.`;
}
