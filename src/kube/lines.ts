const NEWLINE = 0x0a;

/** The complete lines of a stream of bytes; a last one that was cut off is dropped. `onBytes` hears of each chunk. */
export async function* lines(chunks: AsyncIterable<Buffer>, onBytes: () => void): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  for await (const chunk of chunks) {
    onBytes();
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      parts.push(chunk.subarray(from, at));
      const line = Buffer.concat(parts).toString("utf8");
      parts = [];
      from = at + 1;
      if (line.trim() !== "") yield line;
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
  }
}
