/**
 * Bundles the service: one file for each role, the commands and the plugin, without node_modules. Two small programs,
 * main.js and kubectl-tenantuser.js, check the version of Node and load the file that is asked for. Every path in the
 * result is relative to the repository, so that two builds of one commit are equal byte for byte.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import * as esbuild from "esbuild";
import * as z from "zod";
import { OLDEST_NODE } from "../src/lib/nodeVersion.ts";
import { projectRoot } from "../stack/paths.ts";
import { COMMAND_FILES, embedShipped, MIGRATION_FILES } from "./embed.ts";
import { externalEntries, externalTraces } from "./externalEntries.ts";
import { notices, packagesOf } from "./notices.ts";
import { keepSources, type SourceMapText } from "./sourceMap.ts";

export const NOTICES = "THIRD-PARTY-LICENSES";

/** Node of the image. Whoever runs the commands may have an older one. */
const IMAGE_NODE = "node24";
const OLDEST = `node${OLDEST_NODE}`;

/** The files that do the work: the Node that each has to run on, and the files whose text it holds. */
export const PROGRAMS = {
  webhook: { entry: "src/entries/webhook.ts", target: IMAGE_NODE, shipped: [] },
  reconciler: { entry: "src/entries/reconciler.ts", target: IMAGE_NODE, shipped: [] },
  migrate: { entry: "src/entries/migrate.ts", target: IMAGE_NODE, shipped: MIGRATION_FILES },
  cli: { entry: "src/entries/cli.ts", target: OLDEST, shipped: COMMAND_FILES },
  plugin: { entry: "src/entries/plugin.ts", target: OLDEST, shipped: [] },
  openTelemetry: { entry: "src/ops/openTelemetry.ts", target: IMAGE_NODE, shipped: [] },
} as const;
export type ProgramName = keyof typeof PROGRAMS;

/** The files that people and the image start. */
export const LAUNCHERS = ["main", "kubectl-tenantuser"] as const;

export type Metafiles = Readonly<Record<ProgramName, esbuild.Metafile>>;

const project = z.object({ name: z.string(), version: z.string(), license: z.string() });

/** CommonJS packages ask for Node's modules by a call. */
const REQUIRE = `import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);`;

/**
 * Empties the folder and writes bundles, source maps, package.json and licenses. Resolves with what each bundle is made
 * of. Throws when esbuild finds an error, or a package states no license.
 */
export async function bundle(outDir: string): Promise<Metafiles> {
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const { name, version, license } = project.parse(JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")));
  const program = (which: ProgramName): Promise<esbuild.Metafile> => bundleProgram(which, version, outDir);
  const metafiles: Metafiles = {
    webhook: await program("webhook"),
    reconciler: await program("reconciler"),
    migrate: await program("migrate"),
    cli: await program("cli"),
    plugin: await program("plugin"),
    openTelemetry: await program("openTelemetry"),
  };
  for (const launcher of LAUNCHERS) await bundleLauncher(launcher, outDir);
  const packageJSON = JSON.stringify({ name, version, license, type: "module" }, null, 2);
  writeFileSync(join(outDir, "package.json"), `${packageJSON}\n`);
  const inputs = Object.values(metafiles).flatMap((metafile) => Object.keys(metafile.inputs));
  writeFileSync(join(outDir, NOTICES), notices(projectRoot, packagesOf(inputs)));
  copyFileSync(join(projectRoot, "LICENSE"), join(outDir, "LICENSE"));
  return metafiles;
}

async function bundleProgram(name: ProgramName, version: string, outDir: string): Promise<esbuild.Metafile> {
  const { entry, target, shipped } = PROGRAMS[name];
  const { outputFiles, metafile } = await esbuild.build({
    ...shared(entry, `${name}.js`),
    target,
    banner: { js: REQUIRE },
    // Errors and ASN.1 types are told by the names of their classes.
    keepNames: true,
    sourcemap: "linked",
    sourcesContent: false,
    // pg asks for it and does without.
    external: ["pg-native"],
    plugins: [embedShipped(version, shipped), externalTraces],
    metafile: true,
  });
  write(outputFiles, outDir);
  return metafile;
}

async function bundleLauncher(name: (typeof LAUNCHERS)[number], outDir: string): Promise<void> {
  const { outputFiles } = await esbuild.build({
    ...shared(`src/${name}.ts`, `${name}.js`),
    // So that a Node that is too old can read it.
    target: "es2015",
    supported: { "dynamic-import": true },
    plugins: [externalEntries],
  });
  write(outputFiles, outDir);
  chmodSync(join(outDir, `${name}.js`), 0o755);
}

/** Written by us: with an outfile at the root, paths in source maps are those of the repository, whatever `outDir` is. */
function shared(entryPoint: string, outfile: string) {
  return {
    absWorkingDir: projectRoot,
    entryPoints: [entryPoint],
    outfile,
    write: false,
    bundle: true,
    platform: "node",
    format: "esm",
    legalComments: "none",
    preserveSymlinks: true,
    logLevel: "warning",
  } as const satisfies esbuild.BuildOptions;
}

function write(files: readonly esbuild.OutputFile[], outDir: string): void {
  for (const { path, contents, text } of files) {
    writeFileSync(join(outDir, relative(projectRoot, path)), path.endsWith(".map") ? ownMap(text) : contents);
  }
}

function ownMap(text: string): string {
  return JSON.stringify(keepSources(JSON.parse(text) as SourceMapText, (source) => source.startsWith("src/")));
}

if (import.meta.main) {
  const outDir = resolve(process.argv[2] ?? join(projectRoot, "dist"));
  for (const [name, { outputs }] of Object.entries(await bundle(outDir))) {
    const bytes = outputs[`${name}.js`]?.bytes ?? 0;
    console.log(`${relative(process.cwd(), join(outDir, `${name}.js`))}: ${(bytes / 1024).toFixed(0)} KiB`);
  }
}
