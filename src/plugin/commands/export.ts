/** People who were in a realm before us, as manifests ready to be adopted. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { UnmanagedUser, UnmanagedUsersAnswer } from "../../api/operator.ts";
import { EXIT, type Exit, failure } from "../exit.ts";
import { type LeftOut, type UserManifest, manifestsOf } from "../manifests.ts";
import type { CommandSession } from "../session.ts";

export interface ExportOptions {
  readonly tenant: string;
  readonly dir?: string;
}

export async function exportPeople(session: CommandSession, { tenant, dir }: ExportOptions): Promise<Exit> {
  const found: UnmanagedUser[] = [];
  let last: UnmanagedUsersAnswer | undefined;
  for await (const page of (await session.operator()).unmanagedUsers(tenant)) {
    last = page;
    found.push(...page.unmanagedUsers);
    if (page.next !== undefined) session.note(`${page.next} users of realm ${page.realm} were checked.`);
  }
  const { manifests, leftOut } = manifestsOf(found);
  if (session.format === "json" || session.format === "yaml") {
    session.data({ ...last, unmanagedUsers: found, next: undefined });
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

function oneFile(manifests: readonly UserManifest[], leftOut: readonly LeftOut[]): string {
  const omitted = leftOut.map(({ who, why }) => `# Left out: ${who}: ${why}.\n`);
  return [...omitted, manifests.map(({ yaml }) => yaml).join("---\n")].join("");
}

/** One file a person; none is ever overwritten. */
async function write(dir: string, manifests: readonly UserManifest[]): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const { name, yaml } of manifests) {
    const file = join(dir, `${name}.yaml`);
    await writeFile(file, yaml, { flag: "wx" }).catch((error: unknown) => {
      const there = error instanceof Error && "code" in error && error.code === "EEXIST";
      throw failure(there ? `${file} is there already, and was not overwritten.` : `${file} cannot be written.`, error);
    });
  }
}
