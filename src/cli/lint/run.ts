/** Lint from paths to findings: reads files and asks git, nothing else. */
import { sentence, validateTenant } from "../../api/validate.ts";
import type { KnownTenant } from "../../store/tenantDirectory.ts";
import { checkAllowed, checkNumber, knownTenant } from "./allowance.ts";
import { type FileContent, readDocuments } from "./documents.ts";
import { checkChange, objectsAt } from "./earlier.ts";
import { filesOf, readText } from "./files.ts";
import { type LintFinding, inOrder } from "./finding.ts";
import { checkForFlux } from "./flux.ts";
import { checkManifest } from "./manifest.ts";
import { checkTogether } from "./repository.ts";
import { identityOf, type LintTarget, targetOf } from "./target.ts";
import { UsageError } from "./usage.ts";

export interface LintOptions {
  /** A git ref. */
  readonly against?: string | undefined;
  /** A file with the Tenant. */
  readonly tenant?: string | undefined;
  /** What Flux sets as targetNamespace. */
  readonly namespace?: string | undefined;
}

export interface LintResult {
  readonly findings: readonly LintFinding[];
  /** How many objects of ours were checked. */
  readonly objects: number;
}

/** `-` among the paths is standard input, read by `readStdin`. Throws a {@link UsageError} on what cannot be done. */
export async function lint(
  paths: readonly string[],
  options: LintOptions,
  readStdin: () => Promise<string>,
): Promise<LintResult> {
  const { against, namespace } = options;
  const tenant = options.tenant === undefined ? undefined : tenantIn(options.tenant);
  const given = paths.filter((path) => path !== "-");
  const files = filesOf(given);
  const contents: FileContent[] = files.paths.map((file) => readDocuments(file, readText(file)));
  if (paths.includes("-")) contents.push(readDocuments("<stdin>", await readStdin()));

  const findings = [...files.findings, ...contents.flatMap((content) => content.findings)];
  const targets = contents
    .flatMap(({ manifests }) => manifests)
    .map((manifest) => targetOf(manifest, namespace))
    .filter((target) => target !== undefined);
  const earlier = against === undefined || given.length === 0 ? undefined : await objectsAt(against, given, namespace);

  for (const target of targets) findings.push(...checkOne(target, tenant, earlier));
  findings.push(...checkTogether(targets), ...checkForFlux(contents));
  if (tenant !== undefined) {
    findings.push(
      ...checkNumber(
        targets.filter(({ kind }) => kind === "TenantUser"),
        tenant,
      ),
    );
  }
  return { findings: inOrder(findings), objects: targets.length };
}

function checkOne(
  target: LintTarget,
  tenant: KnownTenant | undefined,
  earlier: ReadonlyMap<string, LintTarget> | undefined,
): LintFinding[] {
  const found = checkManifest(target, tenant);
  const before = earlier?.get(identityOf(target));
  if (before !== undefined) found.push(...checkChange(target, before, tenant));
  const well = !found.some(({ severity }) => severity === "error");
  if (tenant !== undefined && well && target.kind === "TenantUser") found.push(...checkAllowed(target, tenant));
  return found;
}

function tenantIn(file: string): KnownTenant {
  const { manifests, findings } = readDocuments(file, readText(file));
  const [broken] = findings;
  if (broken !== undefined) throw new UsageError(`--tenant ${file}: ${broken.message}.`);
  const tenants = manifests
    .map((manifest) => targetOf(manifest))
    .filter((target) => target?.kind === "Tenant")
    .filter((target) => target !== undefined);
  const [tenant, ...more] = tenants;
  if (tenant === undefined) throw new UsageError(`--tenant ${file}: there is no Tenant in this file.`);
  if (more.length > 0) throw new UsageError(`--tenant ${file}: there is more than one Tenant in this file.`);
  const violations = validateTenant(tenant.manifest.value);
  if (violations.length > 0) throw new UsageError(`--tenant ${file}: ${violations.map(sentence).join("; ")}.`);
  return knownTenant(tenant);
}
