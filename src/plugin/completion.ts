/** What could come next on the command line, and the scripts that ask for it. */
import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish", "kubectl"] as const;
export type Shell = (typeof SHELLS)[number];

/** The hidden first argument with which the scripts ask. */
export const COMPLETE = "__complete";

/** Candidates for the last of `words`; `names` lists people where a name is wanted. */
export async function candidates(
  program: Command,
  words: readonly string[],
  names: (given: readonly string[]) => Promise<readonly string[]>,
): Promise<string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  let command = program;
  const rest: string[] = [];
  for (const word of before) {
    const next = rest.length > 0 ? undefined : visible(command).find((each) => each.name() === word);
    if (next === undefined) rest.push(word);
    else command = next;
  }
  const open = optionOf(command, rest.at(-1));
  const offered =
    open !== undefined
      ? (open.argChoices ?? [])
      : typed.startsWith("-")
        ? command.options.filter(({ hidden }) => !hidden).flatMap(({ long }) => long ?? [])
        : await wordsFor(command, rest, names, before);
  return offered.filter((word) => word.startsWith(typed)).toSorted();
}

async function wordsFor(
  command: Command,
  rest: readonly string[],
  names: (given: readonly string[]) => Promise<readonly string[]>,
  before: readonly string[],
): Promise<readonly string[]> {
  const given = rest.filter((word, index) => !word.startsWith("-") && optionOf(command, rest[index - 1]) === undefined);
  const subcommands = given.length === 0 ? visible(command).map((each) => each.name()) : [];
  const argument = command.registeredArguments[given.length];
  if (argument === undefined) return subcommands;
  if (argument.argChoices !== undefined) return argument.argChoices;
  return [...subcommands, ...(await names(before))];
}

/** The option that still waits for its value. */
function optionOf(command: Command, word: string | undefined) {
  return command.options.find(
    ({ required, optional, short, long }) =>
      (required || optional) && word !== undefined && [short, long].includes(word),
  );
}

function visible(command: Command): readonly Command[] {
  return command.commands.filter((each) => each.name() !== "help");
}

/** Scripts call the program itself, so they never know less than it does. */
export const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# bash completion of kubectl-tenantuser: source <(kubectl tenantuser completion bash)
_kubectl_tenantuser() {
  local IFS=$'\\n'
  COMPREPLY=($(kubectl-tenantuser ${COMPLETE} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:'))
}
complete -F _kubectl_tenantuser kubectl-tenantuser
`,
  zsh: `#compdef kubectl-tenantuser
# zsh completion of kubectl-tenantuser: source <(kubectl tenantuser completion zsh)
_kubectl_tenantuser() {
  local -a found
  found=("\${(@f)$(kubectl-tenantuser ${COMPLETE} "\${(@)words[2,CURRENT]}" 2>/dev/null | grep -v '^:')}")
  compadd -- $found
}
compdef _kubectl_tenantuser kubectl-tenantuser
`,
  fish: `# fish completion of kubectl-tenantuser: kubectl tenantuser completion fish | source
function __kubectl_tenantuser
  set -l words (commandline -opc) (commandline -ct)
  kubectl-tenantuser ${COMPLETE} $words[2..-1] 2>/dev/null | string match -v ':*'
end
complete -c kubectl-tenantuser -f -a '(__kubectl_tenantuser)'
`,
  kubectl: `#!/bin/sh
# kubectl asks this program for completions of "kubectl tenantuser": save it on the PATH, executable, as
# kubectl_complete-tenantuser
exec kubectl-tenantuser ${COMPLETE} "$@"
`,
};

/** The last line tells kubectl that files are none of the candidates. */
export const NO_FILES = ":4";
