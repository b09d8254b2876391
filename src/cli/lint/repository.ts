/** All manifests together: what must not stand there twice. */
import { canonicalEmail } from "../../api/names.ts";
import type { LintFinding } from "./finding.ts";
import { at, identityOf, type LintTarget } from "./target.ts";

/** Of two that cannot both be, the second is named, with the place of the first. */
export function checkTogether(targets: readonly LintTarget[]): LintFinding[] {
  const findings: LintFinding[] = [];
  const distinct = firsts(
    targets.filter(({ name }) => name !== ""),
    identityOf,
    (later, first) => {
      findings.push({
        ...at(
          later,
          "metadata.name",
          `${later.kind} ${later.name} stands in ${placeOf(first, "metadata.name")} already`,
        ),
        severity: "error",
        rule: "name-twice",
        hint: "one of the two would overwrite the other: give it another name, or remove it",
      });
    },
  );
  const users = distinct.filter(({ kind }) => kind === "TenantUser");
  const unique = (
    path: string,
    rule: string,
    keyOf: (target: LintTarget) => string | undefined,
    sentence: (first: LintTarget) => string,
    hint: string,
  ): void => {
    const having = users.filter((each) => keyOf(each) !== undefined);
    firsts(
      having,
      (each) => keyOf(each) ?? "",
      (later, first) => {
        findings.push({ ...at(later, path, sentence(first)), severity: "error", rule, hint });
      },
    );
  };

  unique(
    "spec.email",
    "email-twice",
    ({ spec: { email } }) => (typeof email === "string" ? canonicalEmail(email) : undefined),
    (first) => `is the address of TenantUser ${first.name} too, in ${placeOf(first, "spec.email")}`,
    "one address is one person: this one would wait for ever; remove one, or change its address",
  );
  unique(
    "spec.userUUID",
    "uuid-twice",
    ({ spec: { userUUID } }) => (typeof userUUID === "string" ? userUUID : undefined),
    (first) => `is the uuid of TenantUser ${first.name} too, in ${placeOf(first, "spec.userUUID")}`,
    "leave the field out unless a certain uuid is needed",
  );
  unique(
    "spec.secret.name",
    "secret-twice",
    ({ namespace, spec: { secret } }) =>
      typeof secret === "object" && secret !== null && "name" in secret && typeof secret.name === "string"
        ? `${namespace ?? ""}/${secret.name}`
        : undefined,
    (first) => `is the Secret of TenantUser ${first.name} too, in ${placeOf(first, "spec.secret.name")}`,
    "leave the field out: each person's Secret has a name of its own by default",
  );
  return findings;
}

/** The first of each key; `again` is called for every other one. */
function firsts(
  targets: readonly LintTarget[],
  keyOf: (target: LintTarget) => string,
  again: (later: LintTarget, first: LintTarget) => void,
): LintTarget[] {
  const seen = new Map<string, LintTarget>();
  for (const target of targets) {
    const first = seen.get(keyOf(target));
    if (first === undefined) seen.set(keyOf(target), target);
    else again(target, first);
  }
  return [...seen.values()];
}

function placeOf({ manifest }: LintTarget, path: string): string {
  const { file, line } = manifest.at(path);
  return `${file}:${line}`;
}
