import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { findProgram } from "../../../stack/obtain/found.ts";
import { atLeast, sameMinor, versionIn } from "../../../stack/obtain/versions.ts";

describe("versions", () => {
  it.each([
    ["Kubernetes v1.37.2", "1.37.2"],
    ["etcd Version: 3.6.16\nGit SHA: 63ed5b9", "3.6.16"],
    ["nats-server: v2.14.9", "2.14.9"],
    ['openjdk version "17.0.15" 2025-04-15', "17.0.15"],
    ['openjdk version "21" 2023-09-19', "21"],
  ])("finds the version in %j", (text, version) => {
    expect(versionIn(text)).toBe(version);
  });

  it("compares numbers, not letters", () => {
    expect(atLeast("2.10.1", "2.9")).toBe(true);
    expect(atLeast("3.4.30", "3.5")).toBe(false);
    expect(sameMinor("1.37.9", "1.37.2")).toBe(true);
    expect(sameMinor("1.36.2", "1.37.2")).toBe(false);
  });
});

describe("programs that the machine has", () => {
  let assets: string;
  let path: string;
  beforeEach(() => {
    assets = mkdtempSync(join(tmpdir(), "stack-assets-"));
    path = mkdtempSync(join(tmpdir(), "stack-path-"));
  });
  afterEach(() => [assets, path].forEach((dir) => rmSync(dir, { recursive: true })));

  const install = (dir: string, program: string, says: string): string => {
    const file = join(dir, program);
    writeFileSync(file, `#!/bin/sh\necho "${says}"\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const find = (program: string) => findProgram(program, { KUBEBUILDER_ASSETS: assets, PATH: path });

  it("come from KUBEBUILDER_ASSETS first", () => {
    install(path, "etcd", "etcd Version: 3.6.0");
    const wanted = install(assets, "etcd", "etcd Version: 3.5.21");
    expect(find("etcd")).toBe(wanted);
  });

  it("come from the PATH when the assets do not fit", () => {
    install(assets, "kube-apiserver", "Kubernetes v1.33.0");
    const wanted = install(path, "kube-apiserver", "Kubernetes v1.37.0");
    expect(find("kube-apiserver")).toBe(wanted);
  });

  it("are not used in a version that does not fit", () => {
    install(path, "etcd", "etcd Version: 3.4.23");
    expect(find("etcd")).toBeUndefined();
  });

  it("are not used when they cannot tell their version", () => {
    install(path, "source-controller", "v1.7.3");
    expect(find("source-controller")).toBeUndefined();
  });
});
