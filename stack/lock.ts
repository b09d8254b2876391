import { linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { readIfThere } from "./files.ts";
import { identify, isAlive, type Identity } from "./identity.ts";

/**
 * Runs `work` while holding the lock file. Who comes second waits; a lock whose
 * owner has died is taken over, so a killed run never blocks the next one.
 * `link` either creates the complete file or fails: no half-written owner.
 */
export async function withLock<T>(path: string, waiting: () => void, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(draft, JSON.stringify(identify(process.pid)));
  try {
    for (let told = false; !take(draft, path);) {
      if (!dropIfStale(path)) {
        if (!told) waiting();
        told = true;
        await sleep(250);
      }
    }
  } finally {
    rmSync(draft, { force: true });
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function dropIfStale(path: string): boolean {
  const content = readIfThere(path);
  if (content === undefined) return true;
  if (content !== "" && isAlive(JSON.parse(content) as Identity)) return false;
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return true;
  }
  // Someone else may have taken over between our look and our rename: give theirs back.
  if (readIfThere(aside) !== content) take(aside, path);
  rmSync(aside, { force: true });
  return true;
}
