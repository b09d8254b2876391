/**
 * How much of an answer is read: everything that comes over the network passes here before anybody parses it. What an
 * upstream sends is its own choice, so a body is bounded by its bytes after decompression and, where it is JSON, by how
 * deep and how many its values are: a list of two million numbers is 4 MiB, and a schema makes an issue of each.
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";

/** After decompression. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
const MAX_VALUES = 100_000;
const MAX_DEPTH = 64;

/** The answer is not read to its end. The text is ours alone. */
export class BodyRefused extends Error {
  override readonly name = "BodyRefused";
  /** Of the answer, as far as its head came. */
  readonly status: number | undefined;

  constructor(why: string, status?: number) {
    super(why);
    this.status = status;
  }
}

/** The refusal that `error` is, or was made of. */
export function bodyRefusedBy(error: unknown): BodyRefused | undefined {
  let next = error;
  for (let depth = 0; next instanceof Error && depth < 10; depth += 1) {
    if (next instanceof BodyRefused) return next;
    next = next.cause;
  }
  return undefined;
}

export interface BodyLimits {
  readonly bytes: number;
  readonly values: number;
}

const LIMITS: BodyLimits = { bytes: MAX_BODY_BYTES, values: MAX_VALUES };

/** Is given each chunk of one body, decompressed, before it is kept; throws BodyRefused at the first that is too much. */
export function makeBodyGuard(status?: number, limits: BodyLimits = LIMITS): (chunk: Uint8Array) => void {
  const structure = makeStructureGuard(status, limits.values);
  let bytes = 0;
  return (chunk) => {
    bytes += chunk.byteLength;
    if (bytes > limits.bytes) throw new BodyRefused(`it is larger than ${limits.bytes / 1024 / 1024} MiB`, status);
    structure(chunk);
  };
}

/**
 * Follows the brackets of JSON without keeping anything: whoever walks a parsed value (a schema, JSON.stringify) goes as
 * deep as it does. What does not begin as JSON is not followed.
 */
function makeStructureGuard(status: number | undefined, mostValues: number): (chunk: Uint8Array) => void {
  let isJSON: boolean | undefined;
  let inString = false;
  let escaped = false;
  let depth = 0;
  let values = 0;
  return (chunk) => {
    // By index: an iterator of the bytes takes ten times as long.
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      if (isJSON === undefined) {
        if (BLANK.has(byte)) continue;
        isJSON = byte === OPEN_OBJECT || byte === OPEN_ARRAY;
      }
      if (!isJSON) return;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) {
        inString = true;
      } else if (byte === COMMA) {
        values += 1;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        values += 1;
        depth += 1;
        if (depth > MAX_DEPTH) throw new BodyRefused(`it is nested deeper than ${MAX_DEPTH}`, status);
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        depth -= 1;
      }
    }
    if (values > mostValues) throw new BodyRefused(`it has more than ${mostValues} values`, status);
  };
}

/** Tab, line feed, carriage return, space; the bytes of a byte order mark. */
const BLANK = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf]);
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** The text of an answer of fetch, which has decompressed it. Throws BodyRefused, and reads no further then. */
export async function readText(response: Response): Promise<string> {
  if (response.body === null) return "";
  const guard = makeBodyGuard(response.status);
  const parts: Uint8Array[] = [];
  // Leaving the loop cancels the rest.
  for await (const chunk of response.body) {
    guard(chunk);
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString("utf8");
}

const DECODERS: ReadonlyMap<string, (bytes: Buffer, options: { maxOutputLength: number }) => Buffer> = new Map([
  ["gzip", gunzipSync],
  ["x-gzip", gunzipSync],
  ["deflate", inflateSync],
  ["br", brotliDecompressSync],
]);

/** A whole body of one `content-encoding`, decompressed. Throws BodyRefused. */
export function decompressed(bytes: Buffer, coding: string, status: number): Buffer {
  const decode = DECODERS.get(coding.trim().toLowerCase());
  if (decode === undefined) throw new BodyRefused("it is encoded in a way that was not asked for", status);
  if (bytes.length === 0) return bytes;
  try {
    return decode(bytes, { maxOutputLength: MAX_BODY_BYTES });
  } catch (error) {
    const tooLarge = error instanceof RangeError;
    throw new BodyRefused(
      tooLarge ? `it is larger than ${MAX_BODY_BYTES / 1024 / 1024} MiB` : "it cannot be decompressed",
      status,
    );
  }
}
