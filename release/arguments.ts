/** What `make release` and `make verify-release` take. */
import { parseArgs } from "node:util";
import { join } from "node:path";
import { projectRoot } from "../stack/paths.ts";
import type { RegistryAddress } from "./registry.ts";
import type { ExpectedIdentity, SigningIdentity } from "./signatures.ts";

interface Common {
  readonly version: string;
  readonly registry: RegistryAddress;
  readonly directory: string;
}
export interface ReleaseArguments extends Common {
  readonly identity: SigningIdentity;
  /** An OCI layout; absent: built. */
  readonly layout: string;
}
export interface VerifyArguments extends Common {
  readonly expected: ExpectedIdentity;
}

/** A sentence for the person who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const TEXT = { type: "string" } as const;
const FLAG = { type: "boolean" } as const;
const OPTIONS = {
  version: TEXT,
  registry: TEXT,
  directory: TEXT,
  key: TEXT,
  image: TEXT,
  identity: TEXT,
  issuer: TEXT,
  keyless: FLAG,
  "plain-http": FLAG,
} as const;
type Name = Exclude<keyof typeof OPTIONS, "keyless" | "plain-http">;

/** Make passes each variable as --name=value, empty where it is not set. */
function read(args: readonly string[]) {
  const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true });
  const given = (name: Name): string | undefined => values[name] || undefined;
  const demanded = (name: Name, example: string): string => {
    const value = given(name);
    if (value === undefined) throw new UsageError(`${name.toUpperCase()} is missing, as in ${example}.`);
    return value;
  };
  const common = (): Common => ({
    version: demanded("version", "VERSION=0.1.0"),
    registry: {
      path: demanded("registry", "REGISTRY=registry.example.com/platform").replace(/\/+$/, ""),
      plainHTTP: values["plain-http"] === true,
    },
    directory: given("directory") ?? join(projectRoot, "dist-release"),
  });
  return { given, demanded, common, keyless: values.keyless === true };
}

export function releaseArguments(args: readonly string[]): ReleaseArguments {
  const { given, demanded, common, keyless } = read(args);
  const shared = common();
  const key = given("key");
  if ((key === undefined) !== keyless)
    throw new UsageError("Set KEY=cosign.key, or KEYLESS=1 where a CI's identity signs, and not both.");
  const identity: SigningIdentity = key === undefined ? { kind: "keyless" } : { kind: "key", file: key };
  return { ...shared, identity, layout: demanded("image", "IMAGE=image.tar (an OCI layout, a folder or a tar file)") };
}

export function verifyArguments(args: readonly string[]): VerifyArguments {
  const { given, common } = read(args);
  const shared = common();
  const [key, identity, issuer] = [given("key"), given("identity"), given("issuer")];
  if (key !== undefined && identity === undefined) return { ...shared, expected: { kind: "key", file: key } };
  if (key !== undefined || identity === undefined || issuer === undefined)
    throw new UsageError("Set KEY=cosign.pub, or IDENTITY= and ISSUER= of the CI that signed, and not both.");
  return { ...shared, expected: { kind: "keyless", identity, issuer } };
}
