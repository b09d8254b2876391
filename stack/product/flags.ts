import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

import { projectRoot } from "../paths.ts";

/** What the image tells node before the program's name: there is one place for it, the Dockerfile. */
export function nodeFlags(): string[] {
  const dockerfile = readFileSync(join(projectRoot, "Dockerfile"), "utf8");
  const entrypoint = /^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? "[]";
  return z
    .array(z.string())
    .parse(JSON.parse(entrypoint))
    .filter((word) => word.startsWith("--"));
}
