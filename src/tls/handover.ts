/** The reconciler's side of the folder that it shares with the webhook of the same Pod. */
import type { Log } from "../lib/log.ts";
import { type CertificatePair, writePair } from "./folder.ts";

/**
 * Gives a pair to the webhook beside this process. Resolves with true when it is there; false, with one log line for each
 * kind of failure, when it could not be written: the webhook then waits for the mounted Secret.
 */
export function makeHandover(deps: {
  /** Absent: the webhook is not beside this process, and there is nothing to do. */
  readonly directory: string | undefined;
  readonly log: Log;
}): (pair: CertificatePair) => Promise<boolean> {
  const { directory, log } = deps;
  let failure = "";
  return async ({ cert, key }) => {
    if (directory === undefined) return true;
    try {
      await writePair(directory, { cert, key });
      failure = "";
      return true;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
      if (code !== failure)
        log.warn("failed to hand the certificate to the webhook; it waits for the mounted Secret", {
          directory,
          error,
        });
      failure = code;
      return false;
    }
  };
}
