import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { swapIn } from "../../../stack/product/node.ts";

let mount: string;
beforeEach(() => void (mount = mkdtempSync(join(tmpdir(), "mount-"))));
afterEach(() => rmSync(mount, { recursive: true, force: true }));

const contents = (): Record<string, string> =>
  Object.fromEntries(
    readdirSync(mount)
      .filter((name) => !name.startsWith(".."))
      .map((name) => [name, readFileSync(join(mount, name), "utf8")]),
  );

it("shows a Secret as files, changes all of them in one moment, and leaves nothing old behind", () => {
  swapIn(mount, new Map(Object.entries({ "tls.crt": "c1", "tls.key": "k1" })));
  expect(contents()).toEqual({ "tls.crt": "c1", "tls.key": "k1" });
  swapIn(mount, new Map(Object.entries({ "tls.crt": "c2", "tls.key": "k2" })));
  expect(contents()).toEqual({ "tls.crt": "c2", "tls.key": "k2" });
  expect(readdirSync(mount).filter((name) => name.startsWith("..") && name !== "..data")).toHaveLength(1);
});

it("takes the files away when the Secret is gone", () => {
  swapIn(mount, new Map());
  expect(contents()).toEqual({});
  swapIn(mount, new Map([["tls.crt", "c1"]]));
  swapIn(mount, new Map());
  expect(contents()).toEqual({});
});
