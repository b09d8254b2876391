import { describe, expect, test } from "vitest";

import { CRITICAL_WINDOW_MS, makeLimits } from "../../../../src/newapi/newApi/limits.ts";

const MINUTE = 60_000;

/** A gateway that lets `limit` calls through in the window, and the client before it. */
function bench(limit: number) {
  let now = 1_800_000_000_000;
  const passed: number[] = [];
  const limits = makeLimits({ now: () => now });
  return {
    limits,
    passed,
    advance: (ms: number) => {
      now += ms;
    },
    now: () => now,
    /** Two calls, as for one person; `until` when there is no room. */
    person: (tenantID: string, who: string): number | "done" | "refused" => {
      const admission = limits.admit(tenantID, who, 2);
      if ("until" in admission) return admission.until;
      const { permit } = admission;
      try {
        for (let call = 0; call < 2; call += 1) {
          permit.spend();
          const live = passed.filter((at) => at > now - CRITICAL_WINDOW_MS);
          if (limit > 0 && live.length >= limit) {
            permit.refused();
            return "refused";
          }
          passed.push(now);
          permit.passed();
        }
        return "done";
      } finally {
        permit.end();
      }
    },
  };
}

describe("the pace at a gateway's limit of logins", () => {
  test("nobody is held back where there is no limit", () => {
    const { person, limits } = bench(0);
    for (let i = 0; i < 500; i += 1) expect(person("acme", `p${i}`)).toBe("done");
    expect(limits.standing().kind).toBe("open");
  });

  test("with the shipped limit ten people pass, one finds the limit, and then only those go for whom there is room", () => {
    const { person, limits, passed } = bench(20);
    limits.join("acme");
    const outcomes = Array.from({ length: 40 }, (_, i) => person("acme", `p${i}`));
    expect(outcomes.slice(0, 10)).toEqual(Array(10).fill("done"));
    expect(outcomes.filter((outcome) => outcome === "refused").length).toBeLessThanOrEqual(1);
    expect(limits.standing()).toEqual({ kind: "limited", limit: 20 });
    expect(passed).toHaveLength(20);
  });

  test("all are served in the end, each told a time that is not moved, with few calls in vain", () => {
    const { person, limits, advance, now } = bench(20);
    limits.join("acme");
    const waiting = new Map(Array.from({ length: 60 }, (_, i) => [`p${i}`, 0]));
    let refused = 0;
    const began = now();
    while (waiting.size > 0 && now() - began < 10 * CRITICAL_WINDOW_MS) {
      for (const [who, until] of waiting) {
        if (until > now()) continue;
        const outcome = person("acme", who);
        if (outcome === "done") waiting.delete(who);
        else if (outcome === "refused") {
          refused += 1;
          waiting.set(who, now() + 5 * MINUTE);
        } else waiting.set(who, outcome);
      }
      advance(10_000);
    }
    expect(waiting.size).toBe(0);
    // 60 people need 120 calls: six windows of 20, the first at once.
    expect(now() - began).toBeLessThan(7 * CRITICAL_WINDOW_MS);
    expect(refused).toBeLessThan(40);
  });

  test("no tenant takes more than half of what is shared", () => {
    const { person, limits } = bench(20);
    limits.join("greedy");
    limits.join("modest");
    const greedy = Array.from({ length: 20 }, (_, i) => person("greedy", `g${i}`));
    expect(greedy.filter((outcome) => outcome === "done")).toHaveLength(5);
    const modest = Array.from({ length: 5 }, (_, i) => person("modest", `m${i}`));
    expect(modest).toEqual(Array(5).fill("done"));
  });

  test("a limit that was raised is noticed within minutes", () => {
    let limit = 4;
    const world = bench(4);
    world.limits.join("acme");
    expect([world.person("acme", "a"), world.person("acme", "b")]).toEqual(["done", "done"]);
    expect(world.person("acme", "c")).toBe("refused");
    limit = 0;
    expect(limit).toBe(0);
    world.passed.length = 0;
    world.advance(6 * MINUTE);
    expect(world.person("acme", "c")).toBe("done");
    expect(world.limits.standing().limit).toBeGreaterThan(4);
  });
});
