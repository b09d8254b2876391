/**
 * The programs that make and verify a release. No stack runs them, so nothing but a release builds them. A registry
 * among them is for tests: a real release goes to the registry that it names.
 */
import { goParts, obtainGoPart, type GoPart } from "./go.ts";

const SYFT = "1.57.1";

export const releaseParts = {
  oras: { name: "oras", title: "oras", programs: { oras: "oras.land/oras/cmd/oras" } },
  cosign: { name: "cosign", title: "cosign", programs: { cosign: "github.com/sigstore/cosign/v3/cmd/cosign" } },
  syft: {
    name: "syft",
    title: "syft",
    programs: { syft: "github.com/anchore/syft/cmd/syft" },
    // Named in each SBOM as the program that made it.
    ldflags: `-X main.version=${SYFT}`,
  },
  registry: {
    name: "distribution",
    title: "registry",
    programs: { registry: "github.com/distribution/distribution/v3/cmd/registry" },
  },
} as const satisfies Readonly<Record<string, GoPart>>;

export type ReleaseProgram = keyof typeof releaseParts;

/** The path of a program, which is built the first time: half a minute for oras, minutes for cosign and syft. */
export async function obtainReleaseProgram(name: ReleaseProgram, detail: (text: string) => void): Promise<string> {
  const { programs } = await obtainGoPart(releaseParts[name], detail);
  const path = programs.get(name);
  if (path === undefined) throw new Error(`${name} was not built`);
  return path;
}

/** The kubectl of the stack, which contains kustomize. Where it is not there yet, the control plane is built with it. */
export async function obtainKubectl(detail: (text: string) => void): Promise<string> {
  const part = goParts.find(({ programs }) => "kubectl" in programs);
  const found = part === undefined ? undefined : (await obtainGoPart(part, detail)).programs.get("kubectl");
  if (found === undefined) throw new Error("kubectl was not built");
  return found;
}
