/** The license notices of every package that a bundle holds, in one text. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

const described = z.object({ name: z.string(), version: z.string(), license: z.string() });
const NOTICE = /^(licen[cs]e|copying|notice)/i;

/** Folders of packages, relative to the repository, that these files (as esbuild names them) come from; sorted. */
export function packagesOf(files: readonly string[]): string[] {
  const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;
  return [...new Set(files.flatMap((file) => folder.exec(file)?.[0] ?? []))].toSorted();
}

/** Throws for a package that states no license. */
export function notices(root: string, packages: readonly string[]): string {
  const parts = packages.map((folder) => {
    const { name, version, license } = described.parse(
      JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")),
    );
    const texts = readdirSync(join(root, folder))
      .filter((file) => NOTICE.test(file) && !/\.[cm]?[jt]s$/.test(file))
      .toSorted()
      .map((file) =>
        readFileSync(join(root, folder, file), "utf8")
          .replaceAll("\r\n", "\n")
          .trim(),
      );
    return [`${name} ${version} (${license})`, ...texts].join("\n\n");
  });
  const rule = `\n\n${"-".repeat(80)}\n\n`;
  return `This program contains the following packages.${rule}${parts.join(rule)}\n`;
}
