/** Reads a request's body by hand: express.json costs a third of the rate, and answers a bare 413. */
import type { IncomingMessage } from "node:http";
import type { Share } from "./inFlight.ts";
import { type Body, LARGEST_BODY } from "./review.ts";

/** Somebody who sends without an end is cut off; up to here the rest of a large body is read, so that the answer arrives. */
const LARGEST_DRAIN = 8 * LARGEST_BODY;
/** The uid stands within. */
const START = 512;
const FIRST_GROWTH = 64 * 1024;

/** `gaveWay`: the first bytes of one that had to make room for others. */
export type Arrived = Body | { readonly gaveWay: Buffer };

/**
 * Rejects when the connection breaks off before the end. However small the pieces in which a body comes, what is kept is
 * one buffer, and all of it is counted.
 */
export function readBody(request: IncomingMessage, open: (giveWay: () => void) => Share): Promise<Arrived> {
  return new Promise((resolve, reject) => {
    let size = 0;
    let start: Buffer = Buffer.alloc(0);
    let kept: Buffer | undefined;
    /** `kept` is a buffer of ours with room for more, not a chunk. */
    let owned = false;
    let dropped = false;
    const drop = (): void => {
      dropped = true;
      kept = undefined;
    };
    const share = open(() => {
      drop();
      resolve({ gaveWay: start });
    });

    const keep = (chunk: Buffer): void => {
      const before = size - chunk.length;
      if (kept === undefined) {
        // As good as always the whole of it: nothing is copied.
        if (share.hold(chunk.buffer.byteLength)) kept = chunk;
        return;
      }
      if (!owned || size > kept.length) {
        const room = Math.min(LARGEST_BODY, Math.max(FIRST_GROWTH, 2 * size));
        if (!share.hold(room)) return;
        const larger = Buffer.allocUnsafeSlow(room);
        kept.copy(larger, 0, 0, before);
        kept = larger;
        owned = true;
      }
      chunk.copy(kept, before);
    };

    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (start.length < START) start = Buffer.concat([start, chunk.subarray(0, START)]).subarray(0, START);
      if (size > LARGEST_BODY && !dropped) {
        drop();
        share.release();
      }
      if (!dropped) keep(chunk);
      if (size > LARGEST_DRAIN) request.destroy();
    });
    request.on("end", () => {
      // Where it gave way this comes too late, and says nothing new.
      if (dropped) return resolve({ start });
      share.complete();
      const bytes = kept ?? Buffer.alloc(0);
      resolve({ bytes: bytes.length === size ? bytes : bytes.subarray(0, size) });
    });
    request.on("error", reject);
    request.on("close", () => {
      if (request.complete) return;
      drop();
      reject(new Error("the connection broke off"));
    });
  });
}
