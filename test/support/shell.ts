/** A person's shell on the stack: kubectl, kcadm.sh and our own program by name, logged in where a person would be. */
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";

import type { StackEnv } from "../../stack/index.ts";
import { javaBinary } from "../../stack/obtain/prerequisites.ts";
import { projectRoot } from "../../stack/paths.ts";

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Shell {
  /** Where commands run: an empty folder of the test's own. */
  readonly dir: string;
  /** Runs lines one after the other, whatever each ends with; gives the last one's code. */
  lines(lines: readonly string[]): Promise<Ended>;
  /** Our program, e.g. `["tenant", "check", "acme"]`. */
  unifiedRBAC(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended>;
  /** The same, to be watched and interrupted. */
  begin(args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> };
  remove(): void;
}

export async function openShell(env: StackEnv): Promise<Shell> {
  const home = mkdtempSync(join(tmpdir(), "unified-rbac-shell-"));
  const [bin, dir] = [join(home, "bin"), join(home, "work")];
  for (const folder of [bin, dir]) mkdirSync(folder);
  const program = (name: string, script: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  const kcadm = join(env.STACK_DIR, "data", "keycloak", "bin", "kcadm.sh");
  const login = join(home, "kcadm.config");
  // Like a person's home: where the login is kept. The first compiler tier, since each call is a Java of its own.
  program(
    "kcadm.sh",
    `KC_OPTS="-XX:TieredStopAtLevel=1" JAVA="${javaBinary()}" exec "${kcadm}" "$@" --config "${login}"`,
  );
  program("kubectl", `exec "${env.KUBECTL}" "$@"`);
  program("unified-rbac", `exec "${process.execPath}" "${join(projectRoot, "src", "main.ts")}" "$@"`);
  const plugin = join(projectRoot, "src", "kubectl-tenantuser.ts");
  program("kubectl-tenantuser", `exec "${process.execPath}" "${plugin}" "$@"`);
  const variables = {
    ...process.env,
    PATH: `${bin}:${process.env["PATH"] ?? ""}`,
    KUBECONFIG: env.KUBECONFIG,
    KUBECACHEDIR: join(home, "kubectl"),
  };

  const start = (file: string, args: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const child = spawn(file, [...args], {
      cwd: dir,
      env: { ...variables, ...more },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const code = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    const ended = Promise.all([code, readAll(child.stdout), readAll(child.stderr)]).then(([last, out, err]): Ended => ({
      code: last,
      out,
      err,
    }));
    return { child, ended };
  };
  const shell: Shell = {
    dir,
    lines: (lines) => start("/bin/sh", ["-c", lines.join("\n")]).ended,
    unifiedRBAC: (args, more) => start(join(bin, "unified-rbac"), args, more).ended,
    begin: (args) => start(join(bin, "unified-rbac"), args),
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
  const { code, err } = await shell.lines([
    `kcadm.sh config credentials --server ${env.KEYCLOAK_URL} --realm master --user ${env.KEYCLOAK_ADMIN} --password '${env.KEYCLOAK_ADMIN_PASSWORD}'`,
  ]);
  if (code !== 0) throw new Error(`kcadm.sh could not log in: ${err}`);
  return shell;
}

/** The commands in what our program printed: its indented lines, but for the login, which asks for a password. */
export function commandsIn(printed: string): string[] {
  return printed
    .split("\n")
    .filter((line) => /^ {2,}(kcadm\.sh|kubectl|client=|openssl)/.test(line))
    .map((line) => line.trim())
    .filter((line) => !line.startsWith("kcadm.sh config credentials"));
}
