import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { withLock } from "../lock.ts";
import { cacheRoot } from "../paths.ts";

/** Everything that decides what comes out; one changed byte makes another entry. */
export function cacheKey(part: string, builtFrom: Readonly<Record<string, string>>): string {
  const sorted = Object.entries(builtFrom).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash("sha256").update(JSON.stringify([part, ...sorted]));
  return `${part}-${hash.digest("hex").slice(0, 16)}`;
}

export const cacheEntry = (key: string): string => join(cacheRoot(), key);

/** The entry's folder, made by `build` in a draft folder if it is not there yet. A second run waits for the first. */
export async function cached(
  key: string,
  detail: (text: string) => void,
  build: (draft: string) => Promise<void>,
): Promise<string> {
  const entry = cacheEntry(key);
  if (existsSync(entry)) return entry;
  const waiting = (): void => detail("waiting for another run to build it");
  await withLock(`${entry}.lock`, waiting, async () => {
    if (existsSync(entry)) return;
    dropDrafts(key);
    const draft = `${entry}.draft-${process.pid}`;
    mkdirSync(draft);
    try {
      await build(draft);
      renameSync(draft, entry);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  });
  return entry;
}

/** What a killed run left behind; we hold the lock, so nobody is writing there. */
function dropDrafts(key: string): void {
  for (const name of readdirSync(cacheRoot())) {
    if (name.startsWith(`${key}.draft-`)) rmSync(join(cacheRoot(), name), { recursive: true, force: true });
  }
}
