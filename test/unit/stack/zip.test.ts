import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { unpackZip } from "../../../stack/obtain/zip.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "stack-zip-"))));
afterEach(() => rmSync(dir, { recursive: true }));

interface Packed {
  readonly name: string;
  readonly content: string;
  readonly mode?: number;
  readonly method?: 0 | 8;
}

function zip(files: readonly Packed[]): string {
  const bodies: Buffer[] = [];
  const records: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode = 0o644, method = 8 } of files) {
    const packed = method === 8 ? deflateRawSync(content) : Buffer.from(content);
    const header = Buffer.alloc(30);
    header.write("PK\x03\x04", "latin1");
    header.writeUInt16LE(name.length, 26);
    const record = Buffer.alloc(46);
    record.write("PK\x01\x02", "latin1");
    record.writeUInt16LE(method, 10);
    record.writeUInt32LE(crc32(content), 16);
    record.writeUInt32LE(packed.length, 20);
    record.writeUInt32LE(content.length, 24);
    record.writeUInt16LE(name.length, 28);
    record.writeUInt32LE((mode << 16) >>> 0, 38);
    record.writeUInt32LE(offset, 42);
    bodies.push(header, Buffer.from(name), packed);
    records.push(record, Buffer.from(name));
    offset += 30 + name.length + packed.length;
  }
  const directory = Buffer.concat(records);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  const file = join(dir, "archive.zip");
  writeFileSync(file, Buffer.concat([...bodies, directory, end]));
  return file;
}

describe("a zip archive", () => {
  it("is unpacked without its first folder, with contents and modes", async () => {
    const long = "line\n".repeat(10_000);
    const archive = zip([
      { name: "program-1.0/", content: "", method: 0 },
      { name: "program-1.0/bin/start.sh", content: long, mode: 0o755 },
      { name: "program-1.0/version.txt", content: "1.0", method: 0 },
    ]);
    await unpackZip(archive, join(dir, "out"));
    expect(readFileSync(join(dir, "out/bin/start.sh"), "utf8")).toBe(long);
    expect(statSync(join(dir, "out/bin/start.sh")).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(dir, "out/version.txt"), "utf8")).toBe("1.0");
  });

  it.each(["program/../../escaped", "/escaped", "program\\..\\..\\escaped"])(
    "cannot write outside of its folder: %s",
    async (name) => {
      const archive = zip([{ name, content: "x" }]);
      await expect(unpackZip(archive, join(dir, "out"))).rejects.toThrow(/invalid|absolute/);
      expect(existsSync(join(dir, "escaped"))).toBe(false);
    },
  );

  it("that is none says so", async () => {
    writeFileSync(join(dir, "page.html"), "<html>not found</html>");
    await expect(unpackZip(join(dir, "page.html"), join(dir, "out"))).rejects.toThrow("not a zip file");
  });
});
