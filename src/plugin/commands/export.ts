/** People who were in a realm before us, as manifests ready to be adopted. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Stranger, StrangersAnswer } from "../../api/operator.ts";
import { EXIT, type Exit, PluginError } from "../exit.ts";
import { type LeftOut, type Manifest, manifestsOf } from "../manifests.ts";
import type { Session } from "../session.ts";

export interface ExportOptions {
  readonly tenant: string;
  readonly dir?: string;
}

export async function exportPeople(session: Session, { tenant, dir }: ExportOptions): Promise<Exit> {
  const found: Stranger[] = [];
  let last: StrangersAnswer | undefined;
  for await (const page of (await session.books()).strangers(tenant)) {
    last = page;
    found.push(...page.strangers);
    if (page.next !== undefined) session.note(`${page.next} users of realm ${page.realm} were looked at.`);
  }
  const { manifests, leftOut } = manifestsOf(found);
  if (session.format === "json" || session.format === "yaml") {
    session.data({ ...last, strangers: found, next: undefined });
    return EXIT.done;
  }
  if (dir === undefined) session.out(oneFile(manifests, leftOut));
  else await write(dir, manifests);
  if (dir !== undefined) for (const { who, why } of leftOut) session.note(`Left out: ${who}: ${why}.`);
  session.note(`${manifests.length} can be adopted, ${leftOut.length} are left out.`);
  if (last?.adoption === "Never") {
    session.note(`The Tenant's adoption is Never: set spec.adoption: Unclaimed before these files are committed.`);
  }
  if (last?.realmIsExclusive === false) {
    session.note("Another Tenant uses this realm: nobody in it is adopted until it has a realm of its own.");
  }
  return EXIT.done;
}

function oneFile(manifests: readonly Manifest[], leftOut: readonly LeftOut[]): string {
  const omitted = leftOut.map(({ who, why }) => `# Left out: ${who}: ${why}.\n`);
  return [...omitted, manifests.map(({ yaml }) => yaml).join("---\n")].join("");
}

/** One file a person; none is ever overwritten. */
async function write(dir: string, manifests: readonly Manifest[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const { name, yaml } of manifests) {
    const file = join(dir, `${name}.yaml`);
    await writeFile(file, yaml, { flag: "wx" }).catch((error: unknown) => {
      const there = error instanceof Error && "code" in error && error.code === "EEXIST";
      throw new PluginError(
        EXIT.failed,
        there ? `${file} is there already, and was not overwritten.` : `${file} cannot be written.`,
        error,
      );
    });
  }
}
