/** What ends a command: one sentence for the person, and the program's exit code. */
export class CommandFailure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "CommandFailure";
    this.exitCode = exitCode;
  }
}

/**
 * 0: done, nothing is missing. 1: something is missing, or not everything could be done. 2: the command was called
 * wrongly; nothing was done. 3: the cluster did not answer, or does not let this person ask. 130: interrupted.
 */
export const EXIT = { ok: 0, unfinished: 1, usage: 2, cluster: 3, interrupted: 130 } as const;
