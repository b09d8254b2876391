/**
 * The published definitions (CRDs) of controllers that do not run here, to hold our manifests against. External Secrets
 * ships them in its module; of Flux's notification-controller and helm-controller only the modules with their types are published,
 * so they are generated from those, with the generator that Flux itself uses.
 */
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { lockDir } from "../paths.ts";
import { run } from "../process.ts";
import { cached, cacheKey } from "./cache.ts";

const SECRETS = "github.com/external-secrets/external-secrets";
const SECRETS_FILE = "config/crds/bases/external-secrets.io_externalsecrets.yaml";
/** Folder under stack/lock -> packages with the types. */
const GENERATED = {
  "notification-controller": ["v1", "v1beta3"].map(
    (version) => `github.com/fluxcd/notification-controller/api/${version}`,
  ),
  "helm-controller": ["github.com/fluxcd/helm-controller/api/v2"],
} as const;

// As for the parts: the user's GOFLAGS could contradict ours.
const env = { GOFLAGS: "", GOWORK: "off", CGO_ENABLED: "0" };

/** The folder with the definitions, one YAML file a kind. Half a minute the first time. */
export async function obtainDefinitions(detail: (text: string) => void = () => {}): Promise<string> {
  const secrets = lockDir("external-secrets");
  const generated = Object.entries(GENERATED).map(([name, packages]) => ({ name, packages, cwd: lockDir(name) }));
  const locks = [secrets, ...generated.map(({ cwd }) => cwd)].flatMap((folder) =>
    ["go.mod", "go.sum"].map((file) => join(folder, file)),
  );
  const contents = Object.fromEntries(
    locks.map((file) => [file.slice(lockDir("").length), readFileSync(file, "utf8")]),
  );
  return cached(cacheKey("definitions", contents), detail, async (draft) => {
    detail("fetching External Secrets");
    await run({ file: "go", args: ["mod", "download", SECRETS], cwd: secrets, env });
    const list = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SECRETS];
    const module = (await run({ file: "go", args: list, cwd: secrets, env })).trim();
    cpSync(join(module, SECRETS_FILE), join(draft, "externalsecrets.yaml"), { mode: 0 });

    for (const { name, packages, cwd } of generated) {
      detail(`generating those of ${name}`);
      const folder = join(draft, name);
      mkdirSync(folder);
      const paths = packages.length === 1 ? packages.join() : `{${packages.join()}}`;
      const generate = ["tool", "controller-gen", "crd", `paths=${paths}`, `output:crd:dir=${folder}`];
      await run({ file: "go", args: generate, cwd, env });
    }
  });
}
