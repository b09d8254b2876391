import { chmodSync, closeSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { inflateRawSync } from "node:zlib";

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly size: number;
  readonly offset: number;
  readonly mode: number;
}

/**
 * Unpacks a zip file, dropping its first folder. Written out because neither
 * `unzip` nor a JDK's `jar` is sure to be there. Only what Keycloak's archive
 * uses: stored or deflated entries, no zip64, no encryption.
 */
export function unpackZip(archive: string, into: string): void {
  const file = openSync(archive, "r");
  try {
    for (const entry of directory(file)) {
      const inner = normalize(entry.name.slice(entry.name.indexOf("/") + 1));
      if (inner.startsWith("..") || inner.startsWith("/"))
        throw new Error(`${archive} holds a path that leads outside`);
      const target = join(into, inner);
      if (entry.name.endsWith("/")) {
        mkdirSync(target, { recursive: true });
        continue;
      }
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, contentOf(file, entry));
      if (entry.mode !== 0) chmodSync(target, entry.mode);
    }
  } finally {
    closeSync(file);
  }
}

function read(file: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  const got = readSync(file, buffer, 0, length, position);
  if (got !== length) throw new Error("the zip file ends too early");
  return buffer;
}

function directory(file: number): Entry[] {
  const size = fstatSync(file).size;
  // The closing record is 22 bytes, before a comment of at most 64 KiB.
  const tail = read(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
  const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new Error("this is not a zip file");
  const count = tail.readUInt16LE(end + 10);
  const records = read(file, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries: Entry[] = [];
  for (let at = 0; entries.length < count;) {
    const [name, extra, comment] = [
      records.readUInt16LE(at + 28),
      records.readUInt16LE(at + 30),
      records.readUInt16LE(at + 32),
    ];
    entries.push({
      name: records.toString("utf8", at + 46, at + 46 + name),
      method: records.readUInt16LE(at + 10),
      size: records.readUInt32LE(at + 20),
      offset: records.readUInt32LE(at + 42),
      mode: (records.readUInt32LE(at + 38) >>> 16) & 0o777,
    });
    at += 46 + name + extra + comment;
  }
  return entries;
}

function contentOf(file: number, entry: Entry): Buffer {
  const header = read(file, entry.offset, 30);
  const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const packed = read(file, start, entry.size);
  if (entry.method === 0) return packed;
  if (entry.method === 8) return inflateRawSync(packed);
  throw new Error(`${entry.name} is packed with method ${entry.method}, which is not supported`);
}
