/** Puts the text of shipped files into a bundle, so that the program needs no file beside it. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "esbuild";
import { projectRoot } from "../stack/paths.ts";

/** What the commands ask `readShipped` for. */
export const COMMAND_FILES = ["flux/tenant/*.yaml", "flux/tenant/{external-secrets,notifications}/*.yaml"];

/** What `migrate` asks for. */
export const MIGRATION_FILES = ["src/store/migrations/*.sql"];

/** Replaces src/lib/shipped.ts. Of package.json only the version goes in. */
export function embedShipped(version: string, patterns: readonly string[] = COMMAND_FILES): Plugin {
  return {
    name: "embed-shipped",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]lib[\\/]shipped\.ts$/ }, () => ({
        loader: "ts",
        contents: `
          const files = new Map<string, string>(${JSON.stringify(shippedFiles(version, patterns))});
          export function readShipped(path: string): string {
            const text = files.get(path);
            if (text === undefined) throw new Error(\`this program was built without \${path}\`);
            return text;
          }
          export function listShipped(folder: string): string[] {
            const inside = [...files.keys()].filter((path) => path.startsWith(\`\${folder}/\`));
            if (inside.length === 0) throw new Error(\`this program was built without \${folder}\`);
            return inside.map((path) => path.slice(folder.length + 1)).filter((name) => !name.includes("/")).toSorted();
          }`,
      }));
    },
  };
}

function shippedFiles(version: string, patterns: readonly string[]): [path: string, text: string][] {
  const paths = patterns.flatMap((pattern) => globSync(pattern, { cwd: projectRoot })).toSorted();
  return [
    ["package.json", JSON.stringify({ version })],
    ...paths.map((path): [string, string] => [
      path.replaceAll("\\", "/"),
      readFileSync(join(projectRoot, path), "utf8"),
    ]),
  ];
}
