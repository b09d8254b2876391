import { createWriteStream, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { openPromise } from "yauzl";

/**
 * Unpacks a zip file, dropping its first folder; `into` exists. A library's work, because neither `unzip` nor a JDK's `jar` is
 * sure to be there. Rejects what is no zip file, and names that lead outside.
 */
export async function unpackZip(archive: string, into: string): Promise<void> {
  const zip = await openPromise(archive).catch((cause: unknown) => {
    throw new Error(`${archive} is not a zip file`, { cause });
  });
  try {
    for await (const entry of zip.eachEntry()) {
      const target = join(into, entry.fileName.slice(entry.fileName.indexOf("/") + 1));
      if (entry.fileName.endsWith("/")) {
        mkdirSync(target, { recursive: true });
        continue;
      }
      mkdirSync(dirname(target), { recursive: true });
      const mode = (entry.externalFileAttributes >>> 16) & 0o777;
      await pipeline(await zip.openReadStreamPromise(entry), createWriteStream(target, mode === 0 ? {} : { mode }));
    }
  } finally {
    zip.close();
  }
}
