/** Files of this project that the program reads when it runs. A bundle holds their text instead (build/embed.ts). */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The same from src/ and from dist/. */
const HOME = join(import.meta.dirname, "..", "..");

/** Text of a file, by its path from the project's root, with slashes. Throws where there is none. */
export const readShipped = (path: string): string => readFileSync(join(HOME, path), "utf8");
