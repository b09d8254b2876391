import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { findUser, makeOpenDirectory, reachableByAll } from "../../../stack/unprivileged.ts";

const passwd = `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`;

describe("who runs what may not run as root", () => {
  it("is the first of the wanted users that exists", () => {
    expect(findUser(passwd, ["nobody", "daemon"])).toEqual({ name: "nobody", uid: 65534, gid: 65534 });
    expect(findUser(passwd, ["postgres", "daemon"])?.name).toBe("daemon");
  });

  it("is never root", () => {
    expect(findUser(passwd, ["root"])).toBeUndefined();
  });

  it("can walk to the directory made for them, but not into a closed one", () => {
    const open = makeOpenDirectory();
    expect(reachableByAll(open)).toBe(true);
    rmSync(open, { recursive: true });

    const closed = mkdtempSync(join(tmpdir(), "stack-closed-"));
    mkdirSync(join(closed, "inside"));
    chmodSync(closed, 0o700);
    expect(reachableByAll(join(closed, "inside"))).toBe(false);
    rmSync(closed, { recursive: true });
  });
});
