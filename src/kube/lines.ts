import type { Readable } from "node:stream";

const NEWLINE = 0x0a;

/** The next whole line that is not blank; undefined at the end. One asks at a time, and while nobody does nothing is read. */
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
  /** What was read and not given yet. */
  let rest: Buffer | undefined;

  const look = (): void => {
    if (asked === undefined) return;
    for (;;) {
      const at = rest?.indexOf(NEWLINE) ?? -1;
      if (rest !== undefined && at >= 0) {
        const line = rest.toString("utf8", 0, at);
        rest = at + 1 < rest.length ? rest.subarray(at + 1) : undefined;
        if (line.trim() === "") continue;
        asked(line);
        break;
      }
      const chunk: unknown = stream.destroyed ? null : stream.read();
      if (Buffer.isBuffer(chunk)) {
        onBytes();
        rest = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
        continue;
      }
      if (!stream.destroyed) return;
      const cut = fault(stream);
      asked(cut && Promise.reject(cut));
      break;
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
