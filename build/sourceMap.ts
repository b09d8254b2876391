/**
 * Takes packages out of a source map. Node reads and unfolds the whole map at the first stack trace: with every package in
 * it, that costs the webhook 50 MiB and a fifth of a second. A frame in a package shows its line in the bundle, where names
 * are kept.
 */

export interface SourceMapText {
  readonly version: number;
  readonly sources: readonly string[];
  readonly names: readonly string[];
  /** As the specification of source maps (ECMA-426) says: lines part by `;`, segments by `,`, numbers as base64 VLQ. */
  readonly mappings: string;
}

/** Column in the bundle; then source, line, column and name where there is a source. Each but the first counts from the last. */
type Segment = readonly number[];

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * Keeps the mappings of sources for which `isOwn` holds, one for each line of a source: a frame names the right line, and
 * the column where that line begins in the bundle. Where other sources begin, one segment says that there is none.
 */
export function keepSources(map: SourceMapText, isOwn: (source: string) => boolean): SourceMapText {
  const kept = map.sources.flatMap((source, index) => (isOwn(source) ? [index] : []));
  const indexOf = new Map(kept.map((old, index) => [old, index]));
  const read = [0, 0, 0, 0];
  const written = [0, 0, 0];
  let mapped = true;
  const lines = map.mappings.split(";").map((line) => {
    let column = 0;
    let writtenColumn = 0;
    const segments: string[] = [];
    const write = (...rest: number[]): void => {
      segments.push(encode([column - writtenColumn, ...rest]));
      writtenColumn = column;
    };
    for (const segment of line === "" ? [] : line.split(",").map(decode)) {
      column += segment[0] ?? 0;
      for (const [field, delta] of segment.slice(1).entries()) read[field] = (read[field] ?? 0) + delta;
      const source = segment.length > 1 ? indexOf.get(read[0] ?? 0) : undefined;
      if (source !== undefined) {
        const place = [source, read[1] ?? 0, read[2] ?? 0];
        const sameLine = segments.length > 0 && mapped && source === written[0] && place[1] === written[1];
        if (sameLine) continue;
        write(...place.map((value, field) => value - (written[field] ?? 0)));
        written.splice(0, 3, ...place);
      } else if (mapped) write();
      mapped = source !== undefined;
    }
    return segments.join(",");
  });
  return {
    version: map.version,
    sources: kept.map((index) => map.sources[index] ?? ""),
    names: [],
    mappings: lines.join(";"),
  };
}

function decode(text: string): Segment {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const digit of text) {
    const bits = DIGITS.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits >= 32) continue;
    numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

function encode(numbers: Segment): string {
  let text = "";
  for (const number of numbers) {
    let rest = number < 0 ? (-number << 1) | 1 : number << 1;
    do {
      const bits = rest & 31;
      rest >>>= 5;
      text += DIGITS.charAt(rest > 0 ? bits | 32 : bits);
    } while (rest > 0);
  }
  return text;
}
