import { runProgram } from "../../src/cli/program.ts";

export interface CLIOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `unified-rbac ARGS` in this process, with nothing of this machine's environment. */
export async function runCLI(
  args: readonly string[],
  {
    stdin = "",
    env = {},
    hasRoles = true,
  }: { readonly stdin?: string; readonly env?: Readonly<Record<string, string>>; readonly hasRoles?: boolean } = {},
): Promise<CLIOutcome> {
  let [out, err] = ["", ""];
  const code = await runProgram(args, {
    env,
    out: (text) => (out += text),
    err: (text) => (err += text),
    readStdin: () => Promise.resolve(stdin),
    signal: new AbortController().signal,
    version: "1.2.3",
    hasRoles,
  });
  return { code, out, err };
}
