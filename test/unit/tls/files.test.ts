import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Log, silentLog } from "../../../src/lib/log.ts";
import { type CertificateSet, makeCertificates } from "../../../src/tls/authority.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { makeTLSFiles, newestValid, type TLSMaterial } from "../../../src/tls/files.ts";
import { type FoundPair, readPair, writePair } from "../../../src/tls/folder.ts";

let directory = "";
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unified-rbac-tls-"));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await rm(directory, { recursive: true });
});

const certificates = () => makeCertificates({ dnsNames: ["localhost"], ips: [] }, { now: Date.now() });

/** As the kubelet does it: a new folder, then the link ..data swapped in one move. */
async function mount(set: CertificateSet, version: string): Promise<void> {
  await mkdir(join(directory, version));
  await writeFile(join(directory, version, "tls.crt"), set.cert);
  await writeFile(join(directory, version, "tls.key"), set.key);
  await symlink(version, join(directory, "..new"));
  await rename(join(directory, "..new"), join(directory, "..data"));
  for (const name of ["tls.crt", "tls.key"]) {
    await symlink(`..data/${name}`, join(directory, name)).catch(() => {});
  }
}

async function watching(directories = [directory], log: Log = silentLog): Promise<TLSMaterial[]> {
  const seen: TLSMaterial[] = [];
  const files = makeTLSFiles({ directories, clock: systemClock, log, pollMs: 10 });
  files.subscribe((material) => seen.push(material));
  await files.start();
  cleanups.push(() => files.stop());
  return seen;
}

test("waits for certificates that arrive late, and takes over renewed ones", async () => {
  const seen = await watching();
  expect(seen).toEqual([]);
  const [first, second] = [await certificates(), await certificates()];
  await mount(first, "..1");
  await expect.poll(() => seen.map(({ cert }) => cert)).toEqual([first.cert]);
  await mount(second, "..2");
  await expect.poll(() => seen.map(({ cert }) => cert)).toEqual([first.cert, second.cert]);
});

test("keeps the old pair while a new one is half written", async () => {
  const [first, second] = [await certificates(), await certificates()];
  await writeFile(join(directory, "tls.crt"), first.cert);
  await writeFile(join(directory, "tls.key"), first.key);
  const seen = await watching();
  await writeFile(join(directory, "tls.crt"), second.cert);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(seen).toHaveLength(1);
  await writeFile(join(directory, "tls.key"), second.key);
  await expect.poll(() => seen.at(-1)?.key).toBe(second.key);
});

test("tells a late listener what is there already", async () => {
  await mount(await certificates(), "..1");
  const files = makeTLSFiles({ directories: [directory], clock: systemClock, log: silentLog });
  await files.start();
  cleanups.push(() => files.stop());
  const seen: TLSMaterial[] = [];
  files.subscribe((material) => seen.push(material));
  expect(seen).toHaveLength(1);
});

describe("with a second directory, into which the reconciler writes", () => {
  const YEAR = 2026;
  const made = (year: number) =>
    makeCertificates(
      { dnsNames: ["localhost"], ips: [] },
      { now: Date.UTC(year, 0, 1), lifetimeMs: 20 * 31_536_000_000 },
    );

  test("takes the pair that comes first, and then always the newer one, wherever it is", async () => {
    const handover = join(directory, "handover");
    const seen = await watching([directory, handover]);
    const [first, second, third] = await Promise.all([made(YEAR - 2), made(YEAR - 1), made(YEAR)]);
    await writePair(handover, first);
    await expect.poll(() => seen.map(({ cert }) => cert)).toEqual([first.cert]);
    // The kubelet delivers the same: nothing to say.
    await mount(first, "..1");
    await mount(second, "..2");
    await expect.poll(() => seen.map(({ cert }) => cert)).toEqual([first.cert, second.cert]);
    await writePair(handover, third);
    await expect.poll(() => seen.map(({ cert }) => cert)).toEqual([first.cert, second.cert, third.cert]);
  });

  test("says once what is wrong with a directory, and nothing of one that is empty beside a usable pair", async () => {
    const warnings: unknown[] = [];
    const log: Log = { ...silentLog, warn: (_message, fields) => void warnings.push(fields) };
    const handover = join(directory, "handover");
    const seen = await watching([directory, handover], log);
    const none = "tls.crt and tls.key are not there yet";
    expect(warnings).toEqual([{ directory: `${directory}, ${handover}`, problem: none }]);
    await mount(await certificates(), "..1");
    await expect.poll(() => seen).toHaveLength(1);
    await mkdir(handover);
    await writeFile(join(handover, "tls.crt"), "no certificate");
    await writeFile(join(handover, "tls.key"), "no key");
    await expect.poll(() => warnings).toHaveLength(2);
    expect(warnings[1]).toMatchObject({ directory: handover });
    expect(seen).toHaveLength(1);
  });
});

describe("of several pairs", () => {
  const pair = (cert: string, notBefore: number, notAfter: number): FoundPair => ({
    cert,
    key: "",
    notBefore,
    notAfter,
  });
  const NOW = 100;

  test.each([
    ["none", [], undefined],
    ["the newer of two valid ones", [pair("old", 10, 200), pair("new", 20, 150)], "new"],
    ["the valid one, though another began later", [pair("expired", 50, 90), pair("valid", 20, 150)], "valid"],
    ["the valid one, though another will begin", [pair("valid", 20, 150), pair("future", 110, 900)], "valid"],
    ["the newest, where none is valid", [pair("older", 10, 90), pair("newer", 50, 90)], "newer"],
    ["the first, where both are as old", [pair("secret", 10, 200), pair("handed over", 10, 200)], "secret"],
  ])("counts %s", (_what, pairs, expected) => {
    expect(newestValid(pairs, NOW)?.cert).toBe(expected);
  });
});

test("a pair that is written again and again is read whole at every moment, and leaves little behind", async () => {
  const pairs = await Promise.all([certificates(), certificates(), certificates()]);
  await writePair(directory, pairs[0] as CertificateSet);
  const reading = { over: false, broken: [] as unknown[], reads: 0 };
  const reader = (async () => {
    while (!reading.over) {
      const found = await readPair(directory);
      reading.reads += 1;
      if ("problem" in found) reading.broken.push(found);
    }
  })();
  for (let round = 0; round < 30; round += 1) {
    await writePair(directory, pairs[round % pairs.length] as CertificateSet);
    const reads = reading.reads;
    // At least one whole read between two writes, as the poll of every 500 ms has.
    await expect.poll(() => reading.reads, { interval: 1 }).toBeGreaterThan(reads + 1);
  }
  reading.over = true;
  await reader;
  expect(reading.broken).toEqual([]);
  expect((await readdir(directory)).toSorted()).toHaveLength(3);
});
