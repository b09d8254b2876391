/** kustomize-controller's own generator as a program: what Flux makes of a folder, without a cluster. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { cached, cacheKey } from "../../stack/obtain/cache.ts";
import { lockDir } from "../../stack/paths.ts";
import { run } from "../../stack/process.ts";

const SOURCE = join(import.meta.dirname, "flux", "main.go");
const answer = z.object({ error: z.string().default(""), objects: z.array(z.string()) });
export type FluxAnswer = z.infer<typeof answer>;

/** Builds the program from the versions of the stack's kustomize-controller; the second time it is there. */
export async function obtainFluxBuild(): Promise<string> {
  const lock = lockDir("kustomize-controller");
  const key = cacheKey("flux-build", {
    source: readFileSync(SOURCE, "utf8"),
    sum: readFileSync(join(lock, "go.sum"), "utf8"),
    platform: `${process.platform}/${process.arch}`,
  });
  const entry = await cached(
    key,
    () => {},
    async (draft) => {
      const cwd = mkdtempSync(join(tmpdir(), "unified-rbac-flux-build-"));
      try {
        for (const file of ["go.mod", "go.sum"]) copyFileSync(join(lock, file), join(cwd, file));
        copyFileSync(SOURCE, join(cwd, "main.go"));
        mkdirSync(join(draft, "bin"));
        const args = ["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"];
        const env = { GOFLAGS: "", GOWORK: "off", CGO_ENABLED: "0" };
        await run({ file: "go", args: [...args, join(draft, "bin", "flux-build"), "."], cwd, env });
      } finally {
        rmSync(cwd, { recursive: true, force: true });
      }
    },
  );
  return join(entry, "bin", "flux-build");
}

/** What becomes of the folder of each repository; they are changed by it. */
export function fluxBuilds(program: string, repositories: readonly { root: string; folder: string }[]): FluxAnswer[] {
  const input = repositories.map(({ root, folder }) => `${root}\t${folder}\n`).join("");
  const { stdout, stderr, status } = spawnSync(program, { input, encoding: "utf8", maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(`flux-build ended with ${status}: ${stderr.slice(0, 2000)}`);
  return stdout
    .trim()
    .split("\n")
    .map((line) => answer.parse(JSON.parse(line)));
}
