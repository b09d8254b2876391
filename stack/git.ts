/** git as the program that people use, with nothing of this machine's own settings. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { run } from "./process.ts";

export interface Remote {
  readonly url: string;
  readonly login: string;
  readonly password: string;
}

export interface Clone {
  readonly dir: string;
  /** Writes a file below the clone, not yet committed. */
  write(path: string, text: string): void;
  remove(path: string): void;
  /** Paths of committed files below `folder`. */
  files(folder: string): Promise<string[]>;
  /** Commits everything, pushes it, and gives the commit's hash; undefined when there was nothing to commit. */
  push(message: string): Promise<string | undefined>;
  /** The commit that the clone stands at; undefined in an empty repository. */
  head(): Promise<string | undefined>;
  /** What is here and not yet at the remote, in git's words; empty when nothing is. */
  unsaved(): Promise<string>;
  /** Drops local commits and takes what the remote has. */
  update(): Promise<void>;
}

const BRANCH = "main";

const env: NodeJS.ProcessEnv = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_SYSTEM: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "Acting Tenant",
  GIT_AUTHOR_EMAIL: "people@tenant.example",
  GIT_COMMITTER_NAME: "Acting Tenant",
  GIT_COMMITTER_EMAIL: "people@tenant.example",
  // A hook or a test runner that runs inside another repository must not lead us there.
  GIT_DIR: undefined,
  GIT_WORK_TREE: undefined,
  GIT_INDEX_FILE: undefined,
};

/** The login stands in the clone's own settings, so that whoever plays on in it need not log in. */
function withLogin({ url, login, password }: Remote): string {
  const full = new URL(url);
  full.username = login;
  full.password = password;
  return full.href;
}

/** Clones into `dir`, which may not exist yet; also an empty repository. */
export async function cloneRepository(remote: Remote, dir: string): Promise<Clone> {
  mkdirSync(dirname(dir), { recursive: true });
  await run({ file: "git", args: ["clone", "--quiet", withLogin(remote), dir], env });
  await run({ file: "git", args: ["checkout", "--quiet", "-B", BRANCH], cwd: dir, env });
  return openClone(remote, dir);
}

/** A clone that is there already; its remote is set to this one. */
export async function openClone(remote: Remote, dir: string): Promise<Clone> {
  const git = (...args: readonly string[]): Promise<string> => run({ file: "git", args, cwd: dir, env });
  await git("remote", "set-url", "origin", withLogin(remote));
  // For whoever continues by hand in this folder.
  await git("config", "user.name", "Acting Tenant");
  await git("config", "user.email", "people@tenant.example");

  const head = async (): Promise<string | undefined> => {
    const hash = await git("rev-parse", "--quiet", "--verify", "HEAD").catch(() => "");
    return hash.trim() || undefined;
  };
  return {
    dir,
    write(path, text) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    },
    remove: (path) => rmSync(join(dir, path), { force: true }),
    async files(folder) {
      const found = await git("ls-files", "-z", "--", folder);
      return found.split("\0").filter((path) => path !== "");
    },
    async push(message) {
      await git("add", "--all");
      if ((await git("status", "--porcelain")) === "") return undefined;
      await git("commit", "--quiet", "--message", message);
      await git("push", "--quiet", "--set-upstream", "origin", BRANCH);
      return head();
    },
    head,
    async unsaved() {
      const status = await git("status", "--porcelain");
      if (status !== "") return status;
      return git("log", "--oneline", `origin/${BRANCH}..HEAD`).catch(() => "");
    },
    async update() {
      await git("fetch", "--quiet", "origin", BRANCH);
      await git("reset", "--quiet", "--hard", `origin/${BRANCH}`);
    },
  };
}
