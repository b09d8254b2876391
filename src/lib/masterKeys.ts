import { Sensitive } from "./sensitive.ts";

/** Secrets from which others are derived, by version. The highest version is the current one; older ones are still understood. */
export interface MasterKeys {
  readonly current: number;
  readonly byVersion: ReadonlyMap<number, Sensitive>;
}

const LINE = /^(\d{1,6})[:=]\s*(\S{32,})$/;

/**
 * One key a line, `<version>: <at least 32 characters>`; empty lines and such that begin with # are skipped. Throws an
 * Error that repeats nothing of the text.
 */
export function parseMasterKeys(text: string): MasterKeys {
  const byVersion = new Map<number, Sensitive>();
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const [, version, key] = LINE.exec(trimmed) ?? [];
    if (version === undefined || key === undefined) {
      throw new Error(`line ${index + 1} must be a version, a colon, and a key of at least 32 characters`);
    }
    if (byVersion.has(Number(version))) throw new Error(`version ${version} stands there twice`);
    byVersion.set(Number(version), new Sensitive(key));
  }
  if (byVersion.size === 0) throw new Error("has no key: write one line, 1: <at least 32 random characters>");
  return { current: Math.max(...byVersion.keys()), byVersion };
}
