import { chmodSync, mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export function findUser(passwd: string, names: readonly string[]): User | undefined {
  for (const wanted of names) {
    for (const line of passwd.split("\n")) {
      const [name, , uid, gid] = line.split(":");
      if (name === wanted && Number(uid) > 0) return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return undefined;
}

/**
 * Postgres and Gitea refuse to run as root. Started by root they run as a user
 * that every Linux has; nothing is added to the system.
 */
export function unprivilegedUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const user = findUser(readFileSync("/etc/passwd", "utf8"), ["nobody", "postgres", "daemon"]);
  if (!user)
    throw new Error('Postgres and Gitea refuse to run as root, and this system has no user "nobody": add one.');
  return user;
}

/** Whether a unmanaged user can walk to the path: /root and many home directories are closed. */
export function reachableByAll(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

/** A directory that the unprivileged user can walk to. Its name is random: /tmp is open to all. */
export function makeOpenDirectory(): string {
  const base = [tmpdir(), "/tmp", "/var/tmp"].find((dir) => reachableByAll(dir)) ?? "/tmp";
  const dir = mkdtempSync(join(base, "unified-rbac-"));
  chmodSync(dir, 0o755);
  return dir;
}
