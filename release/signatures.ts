/**
 * Signatures and attestations, through cosign. With a key, nothing but the registry is asked: an empty signing
 * configuration names no transparency log, and an empty trusted root keeps cosign from fetching one. Without a key, the
 * CI's identity signs, and the public transparency log records it.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { run } from "../stack/process.ts";

export type SigningIdentity = { readonly kind: "key"; readonly file: string } | { readonly kind: "keyless" };

export type ExpectedIdentity =
  | { readonly kind: "key"; readonly file: string }
  /** As cosign's --certificate-identity-regexp and --certificate-oidc-issuer take them. */
  | { readonly kind: "keyless"; readonly identity: string; readonly issuer: string };

export interface CosignDeps {
  readonly cosign: string;
  /** For the two empty files. */
  readonly folder: string;
  readonly plainHTTP: boolean;
}

/** What an attestation says, by cosign's name of its type. */
export type PredicateType = "cyclonedx" | "slsaprovenance1";

const NO_SERVICES = JSON.stringify({
  mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
  rekorTlogConfig: {},
  tsaConfig: {},
});
const NO_ROOTS = JSON.stringify({ mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1" });

export type Signer = ReturnType<typeof makeSigner>;
export type Verifier = ReturnType<typeof makeVerifier>;

export function makeSigner(deps: CosignDeps, identity: SigningIdentity) {
  const registry = deps.plainHTTP ? ["--allow-http-registry"] : [];
  const how = signingArgs(identity, deps.folder);
  const cosign = (args: readonly string[]): Promise<string> => run({ file: deps.cosign, args });

  return {
    /** `reference` names a digest. Of an image for several platforms, each one is signed too. */
    async sign(reference: string): Promise<void> {
      await cosign(["sign", "--yes", "--recursive", ...how, ...registry, reference]);
    },
    async attest(reference: string, type: PredicateType, predicateFile: string): Promise<void> {
      await cosign(["attest", "--yes", ...how, ...registry, "--type", type, "--predicate", predicateFile, reference]);
    },
    async signFile(file: string, signature: string): Promise<void> {
      await cosign(["sign-blob", "--yes", ...how, "--bundle", signature, file]);
    },
  };
}

const envelope = z.object({ payload: z.base64() });
const statement = z.object({ predicate: z.unknown() });

export function makeVerifier(deps: CosignDeps, expected: ExpectedIdentity) {
  const registry = deps.plainHTTP ? ["--allow-http-registry"] : [];
  const how = verifyingArgs(expected, deps.folder);
  const cosign = (args: readonly string[]): Promise<string> => run({ file: deps.cosign, args });

  return {
    /** Throws with cosign's reason unless the expected identity signed this digest. */
    async verify(reference: string): Promise<void> {
      await cosign(["verify", ...how, ...registry, reference]);
    },
    /** What the expected identity attested of this digest. Throws when that is nothing. */
    async attested(reference: string, type: PredicateType): Promise<unknown[]> {
      const lines = await cosign(["verify-attestation", ...how, ...registry, "--type", type, reference]);
      return lines
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => Buffer.from(envelope.parse(JSON.parse(line)).payload, "base64").toString("utf8"))
        .map((payload) => statement.parse(JSON.parse(payload)).predicate);
    },
    async verifyFile(file: string, signature: string): Promise<void> {
      await cosign(["verify-blob", ...how, "--bundle", signature, file]);
    },
  };
}

function signingArgs(identity: SigningIdentity, folder: string): string[] {
  if (identity.kind === "keyless") return [];
  return ["--key", identity.file, "--signing-config", empty(folder, "services", NO_SERVICES), ...noRoots(folder)];
}

function verifyingArgs(expected: ExpectedIdentity, folder: string): string[] {
  if (expected.kind === "keyless") {
    const { identity, issuer } = expected;
    return ["--certificate-identity-regexp", identity, "--certificate-oidc-issuer", issuer];
  }
  // With a key there is no entry in a transparency log to look for.
  return ["--key", expected.file, "--insecure-ignore-tlog", ...noRoots(folder)];
}

const noRoots = (folder: string): string[] => ["--trusted-root", empty(folder, "roots", NO_ROOTS)];

function empty(folder: string, name: string, content: string): string {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, content);
  return file;
}
