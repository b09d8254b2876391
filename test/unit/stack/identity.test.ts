import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";

import { identify, isAlive, parseStat } from "../../../stack/identity.ts";

describe("the identity of a process", () => {
  it("reads the start time behind a command name with spaces and brackets", () => {
    const after = ["S", ...Array.from({ length: 18 }, (_, at) => `${at}`), "4711", "0"];
    expect(parseStat(`12 (my (odd) name) ${after.join(" ")}`)).toEqual({ state: "S", startTime: "4711" });
  });

  it("knows a living process", () => {
    const self = identify(process.pid);
    expect(self && isAlive(self)).toBe(true);
  });

  it("does not take another process with the same pid for the one it knew", () => {
    const self = identify(process.pid);
    expect(self && isAlive({ ...self, startTime: "1" })).toBe(false);
    expect(self && isAlive({ ...self, boot: "before" })).toBe(false);
  });

  it("counts a process that has ended as gone", async () => {
    const child = spawn("true");
    const known = identify(child.pid ?? 0);
    await once(child, "exit");
    expect(known && isAlive(known)).toBeFalsy();
  });
});
