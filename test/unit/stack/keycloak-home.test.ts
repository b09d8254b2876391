import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { linkHome } from "../../../stack/keycloak-home.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "stack-home-"))));
afterEach(() => rmSync(dir, { recursive: true }));

describe("a home that shares an installation", () => {
  it("can be linked again, keeping its data and never touching the installation", () => {
    const installed = join(dir, "installed");
    mkdirSync(join(installed, "lib"), { recursive: true });
    writeFileSync(join(installed, "lib", "server.jar"), "jar");
    const home = join(dir, "home");
    linkHome(installed, home);
    writeFileSync(join(home, "data", "database"), "rows");
    linkHome(installed, home);
    expect(readFileSync(join(home, "lib", "server.jar"), "utf8")).toBe("jar");
    expect(readFileSync(join(home, "data", "database"), "utf8")).toBe("rows");
    expect(existsSync(join(installed, "data"))).toBe(false);
  });
});
