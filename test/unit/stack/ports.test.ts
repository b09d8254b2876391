import { createServer } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";

import { choosePorts } from "../../../stack/ports.ts";

describe("the ports of a stack", () => {
  it("are all different, free, and none that another stack has", async () => {
    const first = await choosePorts({}, new Set());
    const second = await choosePorts({}, new Set(Object.values(first)));
    const all = [...Object.values(first), ...Object.values(second)];
    expect(new Set(all).size).toBe(all.length);
  });

  it("stay the same from one start to the next", async () => {
    const first = await choosePorts({}, new Set());
    expect(await choosePorts(first, new Set())).toEqual(first);
  });

  it("change where somebody else has taken one meanwhile", async () => {
    const first = await choosePorts({}, new Set());
    const unmanagedUser = createServer().listen(first.nats, "127.0.0.1");
    await once(unmanagedUser, "listening");
    const second = await choosePorts(first, new Set());
    unmanagedUser.close();
    expect(second).toEqual({ ...first, nats: second.nats });
    expect(second.nats).not.toBe(first.nats);
  });
});
