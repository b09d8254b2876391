/** The two programs that people install, each as one file that needs nothing but Node. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import * as z from "zod";
import { bundle } from "../build/bundle.ts";
import { embedShipped } from "../build/embed.ts";
import { packagesOf } from "../build/notices.ts";
import { projectRoot } from "../stack/paths.ts";

/** Program -> where it begins. */
export const PROGRAMS = {
  "unified-rbac": "src/commands.ts",
  "kubectl-tenantuser": "src/kubectl-tenantuser.ts",
} as const;
export type Program = keyof typeof PROGRAMS;
export const programNames: readonly Program[] = ["unified-rbac", "kubectl-tenantuser"];

export interface Bundle {
  readonly program: Program;
  readonly text: string;
  /** Folders of the npm packages inside, from the project's root, in order. */
  readonly packages: readonly string[];
}

const project = z.object({
  version: z.string(),
  description: z.string(),
  license: z.string(),
  engines: z.object({ node: z.string().regex(/^>=\d+\.\d+$/) }),
});

/** What the project says of itself in its package.json. */
export const projectManifest = project.parse(JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")));

/** Throws esbuild's error, which names file and line. */
export async function bundleProgram(program: Program, version: string): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: projectRoot,
    preserveSymlinks: true,
    entryPoints: [PROGRAMS[program]],
    outfile: `${program}.js`,
    write: false,
    bundle: true,
    platform: "node",
    target: `node${projectManifest.engines.node.slice(2)}`,
    format: "esm",
    // Names stay: people read them in error messages.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    metafile: true,
    plugins: [embedShipped(version)],
    banner: { js: REQUIRE },
    logLevel: "silent",
  });
  return { program, text: outputFiles[0]?.text ?? "", packages: packagesOf(Object.keys(metafile.inputs)) };
}

/** CommonJS packages ask for Node's modules by a call. */
const REQUIRE = `import{createRequire as makeRequire}from"node:module";const require=makeRequire(import.meta.url);`;

/** Folders of the npm packages that the image's programs contain, as {@link Bundle.packages}. */
export async function bundledIntoImage(): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-image-"));
  try {
    const inputs = Object.values(await bundle(folder)).flatMap((metafile) => Object.keys(metafile.inputs));
    return packagesOf(inputs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
