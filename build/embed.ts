/** Puts the text of shipped files into a bundle, so that the program needs no file beside it. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "esbuild";
import { projectRoot } from "../stack/paths.ts";

/** What each program may ask `readShipped` for. */
const SHIPPED = ["flux/tenant/*.yaml", "flux/tenant/{external-secrets,notifications}/*.yaml"];

/** Replaces src/lib/shipped.ts. Of package.json only the version goes in. */
export function embedShipped(version: string): Plugin {
  return {
    name: "embed-shipped",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]lib[\\/]shipped\.ts$/ }, () => ({
        loader: "ts",
        contents: `
          const files = new Map<string, string>(${JSON.stringify(shippedFiles(version))});
          export function readShipped(path: string): string {
            const text = files.get(path);
            if (text === undefined) throw new Error(\`this program was built without \${path}\`);
            return text;
          }`,
      }));
    },
  };
}

function shippedFiles(version: string): [path: string, text: string][] {
  const paths = SHIPPED.flatMap((pattern) => globSync(pattern, { cwd: projectRoot })).toSorted();
  return [
    ["package.json", JSON.stringify({ version })],
    ...paths.map((path): [string, string] => [
      path.replaceAll("\\", "/"),
      readFileSync(join(projectRoot, path), "utf8"),
    ]),
  ];
}
