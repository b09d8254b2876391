import type { Readable } from "node:stream";
import { BodyRefused, makeBodyGuard, MAX_BODY_BYTES } from "../lib/body.ts";
import { API_SERVER_LIMITS } from "./bodyLimits.ts";

const NEWLINE = 0x0a;

/**
 * The next whole line that is not blank; undefined at the end. One asks at a time, and while nobody does nothing is read.
 * Throws BodyRefused for a line that is more than an answer may be, and the stream is destroyed.
 */
export type NextLine = () => Promise<string | undefined>;

/**
 * The lines of a stream of bytes; a last one that was cut off is dropped. `onBytes` hears of each chunk; `fault` says of a
 * destroyed stream what cut it, or that it is complete. No async iterator: a thousand of these wait nearly all the time, and
 * suspended generators keep more than the stream itself does, the chunk that came last included.
 */
export function makeLines<S extends Readable>(
  stream: S,
  onBytes: () => void,
  fault: (stream: S) => Error | undefined,
): NextLine {
  let asked: ((line: string | undefined | Promise<never>) => void) | undefined;
  /** What was read and not given yet; then the beginning of a line whose end has not come. */
  let rest: Buffer | undefined;
  let begun: Buffer[] = [];
  let begunBytes = 0;

  const take = (chunk: Buffer): void => {
    begun.push(chunk);
    begunBytes += chunk.length;
    if (chunk.includes(NEWLINE)) {
      rest = begun.length === 1 ? chunk : Buffer.concat(begun);
      begun = [];
      begunBytes = 0;
    } else if (begunBytes > MAX_BODY_BYTES) {
      throw new BodyRefused("it has a line that does not end");
    }
  };

  const nextLine = (): string | undefined => {
    while (rest !== undefined) {
      const at = rest.indexOf(NEWLINE);
      const bytes = rest.subarray(0, at);
      const after = rest.subarray(at + 1);
      rest = after.includes(NEWLINE) ? after : undefined;
      if (rest === undefined && after.length > 0) take(after);
      makeBodyGuard(undefined, API_SERVER_LIMITS)(bytes);
      const line = bytes.toString("utf8");
      if (line.trim() !== "") return line;
    }
    return undefined;
  };

  const look = (): void => {
    if (asked === undefined) return;
    try {
      for (;;) {
        const line = nextLine();
        if (line !== undefined) {
          asked(line);
          break;
        }
        const chunk: unknown = stream.destroyed ? null : stream.read();
        if (Buffer.isBuffer(chunk)) {
          onBytes();
          take(chunk);
          continue;
        }
        if (!stream.destroyed) return;
        const cut = fault(stream);
        asked(cut && Promise.reject(cut));
        break;
      }
    } catch (error) {
      asked(Promise.reject(error instanceof Error ? error : new BodyRefused("it cannot be read")));
      stream.destroy();
    }
    asked = undefined;
  };
  stream.on("readable", look).on("close", look);

  return () =>
    new Promise((resolve) => {
      asked = resolve;
      look();
    });
}
