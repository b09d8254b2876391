/** An OCI registry, through oras: it checks the digest of everything that it reads. */
import { readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { run } from "../stack/process.ts";

export interface RegistryAddress {
  /** Host, port and path, as in ghcr.io/example. */
  readonly path: string;
  /** For a registry on this machine. */
  readonly plainHTTP: boolean;
}

export interface Upload {
  readonly repository: string;
  readonly tag: string;
  readonly config: { readonly mediaType: string; readonly file: string };
  readonly layer: { readonly mediaType: string; readonly file: string };
  readonly annotations: Readonly<Record<string, string>>;
}

const pushed = z.object({ digest: z.string() });
const index = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) });

export type Registry = ReturnType<typeof makeRegistry>;

export function makeRegistry(deps: { readonly oras: string }, { path, plainHTTP }: RegistryAddress) {
  const oras = (args: readonly string[], cwd?: string): Promise<string> => run({ file: deps.oras, args, cwd });
  const plain = plainHTTP ? ["--plain-http"] : [];
  const at = (repository: string, reference: string): string =>
    `${path}/${repository}${reference.startsWith("sha256:") ? "@" : ":"}${reference}`;

  return {
    at,
    plainHTTP,

    /** Copies the one image of an OCI layout, a folder or a tar file. Resolves with its digest. */
    async pushLayout(layout: string, repository: string, tag: string): Promise<string> {
      const digest = await digestOfLayout(layout);
      const target = plainHTTP ? ["--to-plain-http"] : [];
      await oras(["cp", "--no-tty", "--from-oci-layout", ...target, `${layout}@${digest}`, at(repository, tag)]);
      return digest;
    },

    /** Pushes a file as an artifact. Resolves with its digest, which is the same for the same content. */
    async push({ repository, tag, config, layer, annotations }: Upload): Promise<string> {
      const notes = Object.entries(annotations).flatMap(([key, value]) => ["--annotation", `${key}=${value}`]);
      const files = [
        "--disable-path-validation",
        "--config",
        `${config.file}:${config.mediaType}`,
        `${basename(layer.file)}:${layer.mediaType}`,
      ];
      const args = ["push", "--no-tty", "--format=json", ...plain, ...notes, at(repository, tag), ...files];
      return pushed.parse(JSON.parse(await oras(args, dirname(layer.file)))).digest;
    },

    /** The digest that a tag names. Throws when there is none. */
    resolve: async (repository: string, tag: string): Promise<string> =>
      (await oras(["resolve", ...plain, at(repository, tag)])).trim(),

    /** Reads everything that a digest names into an OCI layout. Throws when a byte of it differs from its digest. */
    async read(repository: string, digest: string, into: string): Promise<void> {
      const source = plainHTTP ? ["--from-plain-http"] : [];
      await oras(["cp", "--no-tty", ...source, "--to-oci-layout", at(repository, digest), `${into}:read`]);
    },

    /** Writes the files of an artifact into a folder. */
    async pull(repository: string, digest: string, into: string): Promise<void> {
      await oras(["pull", "--no-tty", ...plain, "--output", into, at(repository, digest)]);
    },
  };
}

/** Throws unless the layout holds exactly one image; that may be an index of several platforms. */
async function digestOfLayout(layout: string): Promise<string> {
  const text = statSync(layout).isDirectory()
    ? readFileSync(join(layout, "index.json"), "utf8")
    : await run({ file: "tar", args: ["-xOf", layout, "index.json"] });
  return index.parse(JSON.parse(text)).manifests[0].digest;
}
