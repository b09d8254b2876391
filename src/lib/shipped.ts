/** Files of this project that the programs read when they run. A bundle holds their text instead (build/embed.ts). */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const HOME = join(import.meta.dirname, "..", "..");

/** Text of a file, by its path from the project's root, with slashes. Throws where there is none. */
export const readShipped = (path: string): string => readFileSync(join(HOME, path), "utf8");

/** Names of the files in a folder, sorted. Throws where there is no such folder. */
export const listShipped = (folder: string): string[] => readdirSync(join(HOME, folder)).toSorted();
