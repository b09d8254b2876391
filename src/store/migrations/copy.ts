/** Part of `npm run build`: tsc copies no .sql files, and the migrator reads them beside its own file. */
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";

const from = import.meta.dirname;
const to = join(from, "../../../dist/store/migrations");
await mkdir(to, { recursive: true });
for (const name of await readdir(from)) {
  if (name.endsWith(".sql")) await copyFile(join(from, name), join(to, name));
}
