/** What a change does to people who are there already: the manifests as they are against those of a git ref. */
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { validateTenant } from "../../api/validate.ts";
import { candidateUUID } from "../../api/names.ts";
import { tenant as tenantSchema, type TenantSpec } from "../../api/tenant.ts";
import { accept } from "../../saga/accept.ts";
import type { KnownTenant } from "../../store/tenantDirectory.ts";
import { readDocuments } from "./documents.ts";
import type { LintFinding } from "./finding.ts";
import { at, identityOf, type LintTarget, targetOf, withoutNulls } from "./target.ts";
import { UsageError } from "./usage.ts";

const run = promisify(execFile);
const LARGEST = 64 * 1024 * 1024;

/**
 * The objects of the files that differ from where this branch left `ref`, as they were there, by identity. Files that do
 * not differ change nothing. The repository is that of the first path. Throws a {@link UsageError} where git cannot tell.
 */
export async function objectsAt(
  ref: string,
  paths: readonly string[],
  namespace: string | undefined,
): Promise<ReadonlyMap<string, LintTarget>> {
  const all = paths.map((path) => resolve(path));
  const [first = "."] = all;
  const git = gitIn(statSync(first).isDirectory() ? first : dirname(first));
  const root = (
    await git(`--against needs a git repository, and ${first} is in none`, "rev-parse", "--show-toplevel")
  ).trim();
  const missing = `--against ${ref}: there is no such ref in this repository; fetch it first (in CI with fetch-depth: 0)`;
  const commit = (await git(missing, "rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`)).trim();
  // What others did on that branch since is not this change.
  const base = (await git("", "merge-base", commit, "HEAD").catch(() => commit)).trim();
  const names = await git(
    `--against ${ref}: git cannot compare the given paths with it; are all of them in one repository?`,
    "--literal-pathspecs",
    "diff",
    "--name-only",
    "--no-renames",
    "--no-ext-diff",
    "--diff-filter=MDT",
    "-z",
    base,
    "--",
    ...all,
  );
  const before = new Map<string, LintTarget>();
  for (const name of names.split("\0").filter((each) => /\.ya?ml$/.test(each))) {
    const text = await git(
      `--against ${ref}: ${name} cannot be read`,
      "-C",
      root,
      "cat-file",
      "blob",
      `${base}:${name}`,
    );
    for (const manifest of readDocuments(`${ref}:${name}`, text).manifests) {
      const target = targetOf(manifest, namespace);
      if (target !== undefined) before.set(identityOf(target), target);
    }
  }
  return before;
}

/** git, run in this folder. `complaint`: what to say when it fails, without the full stop. */
function gitIn(cwd: string): (complaint: string, ...args: readonly string[]) => Promise<string> {
  return async (complaint, ...args) => {
    try {
      return (await run("git", args, { cwd, maxBuffer: LARGEST, encoding: "utf8" })).stdout;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        throw new UsageError("--against needs the program git, and it is not on the PATH.");
      }
      throw new UsageError(`${complaint}.`);
    }
  };
}

/** What may not be changed, and was. `before` is the same object. */
export function checkChange(target: LintTarget, before: LintTarget, tenant: KnownTenant | undefined): LintFinding[] {
  return target.kind === "Tenant" ? tenantChange(target, before) : pinChange(target, before, tenant);
}

const PIN = "spec.userUUID";

function pinChange(target: LintTarget, before: LintTarget, tenant: KnownTenant | undefined): LintFinding[] {
  const { userUUID: now } = target.spec;
  const { userUUID: then, email } = before.spec;
  if (typeof now !== "string" || now === then) return [];
  if (typeof then === "string") {
    return [
      {
        ...at(target, PIN, `is immutable, and was ${then} in ${before.manifest.file}`),
        severity: "error",
        rule: "uuid-immutable",
        hint: "put it back; another person gets a manifest of another name",
      },
    ];
  }
  // It may name the uuid that this person has anyway.
  if (tenant !== undefined && typeof email === "string" && now === candidateUUID(tenant.tenantID, email)) return [];
  return [
    {
      ...at(target, PIN, "was added to a user who may have a uuid already, and only that one is accepted"),
      severity: "warning",
      rule: "uuid-added",
      hint: "leave the field out, or copy status.userUUID",
    },
  ];
}

function tenantChange(target: LintTarget, before: LintTarget): LintFinding[] {
  const now = target.manifest.value;
  const immutable = validateTenant(now, before.manifest.value).filter(({ rule }) => rule.endsWith("-immutable"));
  if (immutable.length > 0) {
    return immutable.map(({ path, rule, message }) => ({
      ...at(target, path, message),
      severity: "error",
      rule,
      hint: "put it back; another tenant gets a manifest of another name",
    }));
  }
  const [spec, accepted] = [
    tenantSchema.safeParse(withoutNulls(now)).data?.spec,
    tenantSchema.safeParse(withoutNulls(before.manifest.value)).data?.spec,
  ];
  return spec === undefined || accepted === undefined ? [] : heldBack(target, spec, accepted);
}

/** What the reconciler would say if the tenant had users in every namespace. */
function heldBack(target: LintTarget, spec: TenantSpec, accepted: TenantSpec): LintFinding[] {
  const uid = "lint";
  const outcome = accept([{ uid, name: target.name, createdAt: "", deleting: false, spec, accepted }], {
    mirror: [],
    uses: new Map([[accepted.tenantID, { rows: 1, namespaces: accepted.namespaces }]]),
  }).get(uid);
  return (outcome?.refusals ?? []).map(({ reason, message }): LintFinding => {
    const [path = "spec.namespaces"] = /^spec\.[a-zA-Z.]+/.exec(message) ?? [];
    return { ...target.manifest.at(path), message, severity: "warning", rule: reason };
  });
}
