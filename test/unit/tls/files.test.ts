import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../../../src/lib/log.ts";
import { type CertificateSet, makeCertificates } from "../../../src/tls/authority.ts";
import { makeTLSFiles, type TLSMaterial } from "../../../src/tls/files.ts";

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

async function watching(): Promise<TLSMaterial[]> {
  const seen: TLSMaterial[] = [];
  const files = makeTLSFiles({ directory, log: silentLog, pollMs: 10 });
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
  const files = makeTLSFiles({ directory, log: silentLog });
  await files.start();
  cleanups.push(() => files.stop());
  const seen: TLSMaterial[] = [];
  files.subscribe((material) => seen.push(material));
  expect(seen).toHaveLength(1);
});
