import { setImmediate as turn } from "node:timers/promises";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";

import { makeLines, type NextLine } from "../../../src/kube/lines.ts";

interface Source {
  readonly stream: Readable;
  readonly next: NextLine;
  /** Of each chunk that was heard of, one by one. */
  readonly heard: () => number;
}

function source(): Source {
  const stream = new Readable({ read: () => undefined });
  let heard = 0;
  const next = makeLines(stream, () => (heard += 1), fault);
  return { stream, next, heard: () => heard };
}

function fault(stream: Readable): Error | undefined {
  return stream.readableEnded ? undefined : new Error("it was cut");
}

async function all(next: NextLine): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await next(); line !== undefined; line = await next()) lines.push(line);
  return lines;
}

describe("the lines of a stream", () => {
  it("are whole wherever the bytes were cut, in the middle of a letter too", async () => {
    const bytes = Buffer.from("zoë 😀\n\nsecond\r\n  \nthird\n");
    for (let size = 1; size <= bytes.length; size += 1) {
      const { stream, next } = source();
      for (let from = 0; from < bytes.length; from += size) stream.push(bytes.subarray(from, from + size));
      stream.push(null);
      expect(await all(next)).toEqual(["zoë 😀", "second\r", "third"]);
    }
  });

  it("come one for each time that somebody asks, as soon as they are there", async () => {
    const { stream, next } = source();
    const first = next();
    stream.push("a\nb");
    expect(await first).toBe("a");
    const second = next();
    await turn();
    stream.push("c\n");
    expect(await second).toBe("bc");
  });

  it("are not read while nobody asks", async () => {
    const { stream, next, heard } = source();
    const first = next();
    stream.push("a\n");
    expect(await first).toBe("a");
    stream.push("b\n");
    stream.push("c\n");
    await turn();
    expect([heard(), stream.readableLength]).toEqual([1, 4]);
    expect(await next()).toBe("b");
  });

  it("end with the stream; what no newline ended is dropped", async () => {
    const { stream, next } = source();
    stream.push("a\nhalf of");
    stream.push(null);
    expect(await all(next)).toEqual(["a"]);
    expect(await next()).toBeUndefined();
  });

  it("end with an error when the stream is cut, before and after somebody asks", async () => {
    const { stream, next } = source();
    const asked = next();
    stream.destroy();
    await expect(asked).rejects.toThrow("it was cut");
    await expect(next()).rejects.toThrow("it was cut");
  });

  it("that were read before the cut are given first", async () => {
    const { stream, next } = source();
    stream.push("a\nb\n");
    expect(await next()).toBe("a");
    stream.destroy();
    expect(await next()).toBe("b");
    await expect(next()).rejects.toThrow("it was cut");
  });
});
