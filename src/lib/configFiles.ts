/** Variables that a mounted file can stand in for. A value is never put into a message: it may be a secret. */
import { type MasterKeys, parseMasterKeys } from "./masterKeys.ts";

export type ReadText = (path: string) => string;

/**
 * Variables that a mounted Secret can stand in for, as NAME_FILE; and what stands for one that cannot be read, so that a
 * missing variable is not named a second time.
 */
const FROM_FILES = {
  DATABASE_URL: "postgres://unreadable",
  NATS_URL: "nats://unreadable",
  NATS_PASSWORD: "unreadable",
  NATS_TOKEN: "unreadable",
} as const;

/** Puts the text of each file that is named into its variable's place. */
export function takeFiles(given: Record<string, string>, read: ReadText, mistakes: string[]): void {
  for (const [name, standIn] of Object.entries(FROM_FILES)) takeFile(given, name, standIn, read, mistakes);
}

function takeFile(
  given: Record<string, string>,
  name: string,
  standIn: string,
  read: ReadText,
  mistakes: string[],
): void {
  const variable = `${name}_FILE`;
  const path = given[variable];
  if (path === undefined) return;
  if (given[name] !== undefined) return void mistakes.push(`${variable}: give it or ${name}, not both`);
  try {
    const text = read(path).trim();
    given[name] = text === "" ? standIn : text;
    if (text === "") mistakes.push(`${variable}: the file is empty`);
  } catch (error) {
    given[name] = standIn;
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    mistakes.push(`${variable}: the file cannot be read (${code})`);
  }
}

/** Lines of `<version>: <key>`, as the variable MASTER_KEYS or as a file; one that is not there holds none. */
export function takeMasterKeys(
  given: Readonly<Record<string, string>>,
  read: ReadText,
  mistakes: string[],
): MasterKeys | undefined {
  const { MASTER_KEYS: text, MASTER_KEYS_FILE: path } = given;
  if (text !== undefined && path !== undefined) {
    mistakes.push("MASTER_KEYS_FILE: give it or MASTER_KEYS, not both");
    return undefined;
  }
  try {
    if (text !== undefined) return parseMasterKeys(text);
    return path === undefined ? undefined : parseMasterKeys(read(path));
  } catch (error) {
    // The Secret is optional in the Pod; a Tenant that needs the keys says that there are none.
    if (path !== undefined && error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    const why =
      error instanceof Error && "code" in error ? `the file cannot be read (${String(error.code)})` : message(error);
    mistakes.push(`${path === undefined ? "MASTER_KEYS" : "MASTER_KEYS_FILE"}: ${why}`);
    return undefined;
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
