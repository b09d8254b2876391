import * as z from "zod";
import { describe, expect, it } from "vitest";
import { TransientError } from "../../../src/lib/errors.ts";
import { makeLog } from "../../../src/lib/log.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";

function capture() {
  const lines: string[] = [];
  const log = makeLog({ level: "info", role: "test" }, { write: (line) => void lines.push(line) });
  return { log, lines, last: () => z.record(z.string(), z.unknown()).parse(JSON.parse(lines.at(-1) ?? "")) };
}

describe("the log", () => {
  it("writes one JSON object a line, with the fields of its parents", () => {
    const { log, last } = capture();
    log.with({ saga: "u-1", namespace: "tenant-a" }).info("step done", { step: "keycloak", attempt: 1, ms: 12 });
    expect(last()).toMatchObject({
      level: "info",
      role: "test",
      msg: "step done",
      saga: "u-1",
      namespace: "tenant-a",
      step: "keycloak",
      attempt: 1,
      ms: 12,
    });
    expect(last()["time"]).toMatch(/^\d{4}-.*Z$/);
  });

  it("keeps to its level", () => {
    const { log, lines } = capture();
    log.debug("not shown");
    expect(lines).toEqual([]);
  });

  it("shows no secret, wherever it stands", () => {
    const { log, lines } = capture();
    const key = "sk-hunter2hunter2";
    log.with({ token: "hunter2" }).warn("refused", {
      value: new Sensitive("hunter2"),
      password: "hunter2",
      url: "postgres://ada:hunter2@db/rbac",
      nested: { apiKey: "hunter2", list: [`Bearer hunter2`] },
      error: new Error(`gateway said ${key}`, {
        cause: new TransientError({ code: "X", message: `password=hunter2`, body: "hunter2" }),
      }),
    });
    expect(lines.join("")).not.toContain("hunter2");
    expect(lines.join("")).toContain("postgres://ada:[redacted]");
  });

  it("keeps the stack of what nobody expected, and leaves out that of our own errors", () => {
    const { log, last } = capture();
    log.error("failed", { error: new TypeError("x is not a function") });
    expect(last()["error"]).toMatchObject({
      name: "TypeError",
      stack: expect.arrayContaining([expect.stringContaining("log.test")]),
    });
    log.error("failed", { error: new TransientError({ code: "UpstreamUnavailable", message: "no answer" }) });
    expect(last()["error"]).toEqual({
      name: "TransientError",
      message: "no answer",
      class: "transient",
      code: "UpstreamUnavailable",
    });
  });

  it("survives a value that contains itself", () => {
    const { log, lines } = capture();
    const loop: Record<string, unknown> = {};
    loop["self"] = loop;
    log.info("loop", { loop });
    expect(lines).toHaveLength(1);
  });
});
