/** How the plugin ends. The numbers are API: scripts branch on them. */
export const EXIT = {
  done: 0,
  /** It did not work: the cluster or the reconciler does not answer, or refuses. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** There is no such person, or no such kind in this cluster. */
  notFound: 3,
  /** You may not. */
  forbidden: 4,
  /** Git owns the field: nothing was changed, and the lines to commit were printed. */
  gitOwns: 5,
  /** `wait`: it did not come to pass in time, or will not by itself. */
  notYet: 6,
} as const;
export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** What a person reads in place of a stack trace: sentences, and the number to end with. */
export class PluginError extends Error {
  readonly exit: Exit;

  constructor(exit: Exit, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "PluginError";
    this.exit = exit;
  }
}

/** It did not work. */
export function failure(message: string, cause?: unknown): PluginError {
  return new PluginError(EXIT.failed, message, cause);
}
