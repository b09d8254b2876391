import { describe, expect, test } from "vitest";

import { LONGEST_WINDOW_MS, makeLimits, makeLimitsByOrigin } from "../../../../src/gateway/dialects/new-api/limits.ts";

const MINUTE = 60_000;

/** A gateway that lets `limit` calls through in the window, and the client before it. */
function bench(limit: number, given: { windowMs?: number; saysRetryAfter?: boolean } = {}) {
  const gateway = {
    limit,
    windowMs: given.windowMs ?? LONGEST_WINDOW_MS,
    saysRetryAfter: given.saysRetryAfter ?? false,
  };
  let now = 1_800_000_000_000;
  const passed: number[] = [];
  const opened: string[][] = [];
  let refused = 0;
  const limits = makeLimits({ now: () => now }, (tenantIDs) => opened.push([...tenantIDs]));
  const call = (): boolean => {
    const live = passed.filter((at) => at > now - gateway.windowMs);
    if (gateway.limit > 0 && live.length >= gateway.limit) return false;
    passed.push(now);
    return true;
  };
  return {
    gateway,
    limits,
    passed,
    opened,
    refused: () => refused,
    /** Somebody else behind the same address. */
    others: (calls: number) => {
      for (let n = 0; n < calls; n += 1) call();
    },
    advance: (ms: number) => {
      now += ms;
    },
    now: () => now,
    /** Two calls, as for one person; `until` when there is no room. */
    person: (tenantID: string, who: string): number | "done" | "login alone" => {
      const admission = limits.admit(tenantID, who, 2);
      if ("until" in admission) return admission.until;
      if ("turn" in admission) throw new Error("nobody else is at it");
      const { permit } = admission;
      try {
        for (let nth = 0; nth < 2; nth += 1) {
          permit.spend();
          if (!call()) {
            refused += 1;
            const until = permit.refused(gateway.saysRetryAfter ? gateway.windowMs : undefined);
            return nth === 0 ? until : "login alone";
          }
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
    expect(limits.state().kind).toBe("open");
  });

  test("with the shipped limit ten people pass, one finds the limit, and then only those go for whom there is room", () => {
    const { person, limits, passed, refused } = bench(20);
    limits.join("acme");
    const outcomes = Array.from({ length: 40 }, (_, i) => person("acme", `p${i}`));
    expect(outcomes.slice(0, 10)).toEqual(Array(10).fill("done"));
    expect(refused()).toBe(1);
    expect(limits.state()).toMatchObject({ kind: "limited", limit: 20 });
    expect(passed).toHaveLength(20);
  });

  test.each([0, 4, 8, 11, 19])(
    "before anything is known one goes after the other, each with room for all calls: of 20 less %i at most one is in vain",
    async (usedByOthers) => {
      const { limits, passed, others, person } = bench(20);
      limits.join("acme");
      others(usedByOthers);
      const first = limits.admit("acme", "p0", 2);
      const second = limits.admit("acme", "p1", 2);
      expect(second).toHaveProperty("turn");
      if (!("permit" in first) || !("turn" in second)) throw new Error("the first goes, the second waits");
      first.permit.end();
      await second.turn;
      const outcomes = Array.from({ length: 10 }, (_, i) => person("acme", `p${i}`));
      const keys = outcomes.filter((outcome) => outcome === "done").length;
      expect(keys).toBe(Math.floor((20 - usedByOthers) / 2));
      expect(passed.length - usedByOthers - 2 * keys).toBeLessThanOrEqual(1);
    },
  );

  test("from then on a login is not begun without room for the look at the key", () => {
    const { limits, person, others } = bench(20);
    limits.join("acme");
    others(1);
    for (let i = 0; i < 9; i += 1) expect(person("acme", `p${i}`)).toBe("done");
    expect(person("acme", "x")).toBe("login alone");
    const admissions = Array.from({ length: 5 }, (_, i) => limits.admit("acme", `y${i}`, 2));
    expect(admissions.map((admission) => "until" in admission)).toEqual(Array(5).fill(true));
  });

  /** Everybody comes when they were told to, or when they are called. */
  function serve(
    world: ReturnType<typeof bench>,
    people: number,
    untilMs: number,
  ): { servedAfterMs: number; calls: number } {
    const waiting = new Map(Array.from({ length: people }, (_, i) => [`p${i}`, 0]));
    const began = world.now();
    let calls = 0;
    while (waiting.size > 0 && world.now() - began < untilMs) {
      for (const [who, until] of waiting) {
        if (until > world.now()) continue;
        calls += 1;
        const called = world.opened.length;
        const outcome = world.person("acme", who);
        if (outcome === "done") waiting.delete(who);
        else waiting.set(who, outcome === "login alone" ? world.now() + MINUTE : outcome);
        if (world.opened.length > called) for (const other of waiting.keys()) waiting.set(other, 0);
      }
      world.advance(5_000);
    }
    expect(waiting.size).toBe(0);
    return { servedAfterMs: world.now() - began, calls };
  }

  test("all are served in the end, with few calls in vain", () => {
    const world = bench(20);
    world.limits.join("acme");
    const { servedAfterMs } = serve(world, 60, 10 * LONGEST_WINDOW_MS);
    // 60 people need 120 calls: six windows of 20, the first at once.
    expect(servedAfterMs).toBeLessThan(7 * LONGEST_WINDOW_MS);
    expect(world.refused()).toBeLessThan(60);
  });

  test.each([
    ["switched off", 0],
    ["raised", 60],
  ])("a limit that was %s frees whoever waits within five minutes, many or one", (_what, raised) => {
    for (const people of [1, 15]) {
      const world = bench(20, { saysRetryAfter: true });
      world.limits.join("acme");
      for (let i = 0; i < 10; i += 1) expect(world.person("acme", `first${i}`)).toBe("done");
      const told = Array.from({ length: people }, (_, i) => world.person("acme", `p${i}`) as number);
      expect(Math.min(...told) - world.now()).toBeLessThanOrEqual(5 * MINUTE);
      world.gateway.limit = raised;
      world.advance(1_000);
      const { servedAfterMs } = serve(world, people, LONGEST_WINDOW_MS);
      expect(servedAfterMs).toBeLessThanOrEqual(5 * MINUTE + 10_000);
      expect(world.opened[0]).toEqual(["acme"]);
    }
  });

  test("who waits is probed for once in five minutes, not each by each", () => {
    const world = bench(20);
    world.limits.join("acme");
    for (let i = 0; i < 10; i += 1) world.person("acme", `first${i}`);
    const told = Array.from({ length: 100 }, (_, i) => world.person("acme", `p${i}`) as number);
    const early = told.filter((at) => at - world.now() < LONGEST_WINDOW_MS - MINUTE);
    expect(new Set(early).size).toBe(early.length);
    expect(early.length).toBeLessThanOrEqual(4);
  });

  test("what it says of when to come again is believed as the latest, and the window is learned from it", () => {
    const world = bench(4, { windowMs: MINUTE, saysRetryAfter: true });
    world.limits.join("acme");
    const { servedAfterMs } = serve(world, 10, LONGEST_WINDOW_MS);
    // Two people a minute.
    expect(servedAfterMs).toBeLessThan(8 * MINUTE);
    expect(world.limits.state().windowMs).toBe(MINUTE);
  });

  test("the window that it says is believed from the first refusal on, so that a raised limit is tried for as soon", () => {
    const world = bench(4, { windowMs: MINUTE, saysRetryAfter: true });
    world.limits.join("acme");
    for (const who of ["a", "b"]) expect(world.person("acme", who)).toBe("done");
    const told = ["c", "d", "e"].map((who) => world.person("acme", who) as number);
    expect(world.limits.state().windowMs).toBe(MINUTE);
    expect(told.map((at) => at - world.now())).toEqual([15_000, 30_000, 45_000]);
  });

  test("a shorter window is learned without a word of the gateway's", () => {
    const world = bench(20, { windowMs: 4 * MINUTE });
    world.limits.join("acme");
    const { servedAfterMs } = serve(world, 40, 3 * LONGEST_WINDOW_MS);
    // 80 calls, 20 in four minutes; with a window of 20 minutes it would be over an hour.
    expect(servedAfterMs).toBeLessThan(30 * MINUTE);
  });

  test("an answer that names an absurd time keeps nobody longer than the longest window", () => {
    const world = bench(2);
    world.limits.join("acme");
    expect(world.person("acme", "a")).toBe("done");
    const admission = world.limits.admit("acme", "b", 2);
    if (!("permit" in admission)) throw new Error("the limit is not known");
    admission.permit.spend();
    const until = admission.permit.refused(99_999_999_999_999_000);
    admission.permit.end();
    expect(until - world.now()).toBeLessThanOrEqual(5 * MINUTE);
  });

  test("no tenant takes more than half of what is shared, once it is known that there is a limit", () => {
    const { person, limits, advance } = bench(20);
    limits.join("greedy");
    limits.join("modest");
    const crowd = (tenantID: string, count: number) =>
      Array.from({ length: count }, (_, i) => person(tenantID, `${tenantID}-${i}`));
    crowd("greedy", 11);
    expect(limits.state().kind).toBe("limited");
    advance(2 * LONGEST_WINDOW_MS);
    for (const tenantID of ["greedy", "modest"]) expect(crowd(tenantID, 5)).toEqual(Array(5).fill("done"));
  });

  test("a gateway without limits holds back nobody, also where a tenant that wants nothing shares it", () => {
    const { person, limits, gateway } = bench(20);
    gateway.limit = 0;
    limits.join("busy");
    limits.join("idle");
    const busy = Array.from({ length: 30 }, (_, i) => person("busy", `b${i}`));
    expect(busy).toEqual(Array(30).fill("done"));
  });

  test("one gateway is one limit, whatever the path of its address, and an address that is none throws nothing", () => {
    const of = makeLimitsByOrigin({ now: () => 0 });
    expect(of("https://gw.example/a")).toBe(of("https://gw.example/b/"));
    expect(of("https://gw.example:70000")).not.toBe(of("https://gw.example"));
  });
});

describe("the limit of all calls", () => {
  function shared(limit: number) {
    let now = 1_800_000_000_000;
    const passed: number[] = [];
    const limits = makeLimits({ now: () => now });
    const call = (tenantID: string): "passed" | "refused" | "held" => {
      if (limits.all.take(tenantID) !== undefined) return "held";
      if (passed.filter((at) => at > now - 180_000).length >= limit) {
        limits.all.refused(tenantID, undefined);
        return "refused";
      }
      passed.push(now);
      return "passed";
    };
    return { limits, call, advance: (ms: number) => (now += ms) };
  }

  test("a tenant that asks without end keeps no other from half of it, once it is seen", () => {
    const { limits, call, advance } = shared(40);
    limits.join("greedy");
    limits.join("modest");
    let modest = 0;
    let held = 0;
    for (let second = 0; second < 900; second += 1) {
      for (let n = 0; n < 10; n += 1) call("greedy");
      // One call each nine seconds: half of the limit.
      if (second >= 190 && second % 9 === 0) {
        if (call("modest") === "passed") modest += 1;
        else held += 1;
      }
      advance(1_000);
    }
    expect(modest).toBeGreaterThan(70);
    expect(held).toBeLessThan(10);
  });

  test("one tenant alone has all of it", () => {
    const { limits, call } = shared(40);
    limits.join("acme");
    const outcomes = Array.from({ length: 41 }, () => call("acme"));
    expect(outcomes.filter((outcome) => outcome === "passed")).toHaveLength(40);
    expect(outcomes.at(-1)).toBe("refused");
  });
});
