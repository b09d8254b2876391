import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeTenantBreakers } from "../../../src/reconciler/tenantBreakers.ts";

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

function stage() {
  const rechecked: string[] = [];
  const recovered: (readonly [string, boolean])[] = [];
  const breakers = makeTenantBreakers({
    clock: { now: () => Date.now() },
    requestRecheck: (tenantID) => void rechecked.push(tenantID),
    recovered: (tenantID, _upstream, resume) => void recovered.push([tenantID, resume]),
  });
  const refuse = (times: number, tenantID = "acme") => {
    for (let n = 0; n < times; n += 1) breakers.recordAuthFailure(tenantID, "keycloak");
  };
  return { ...breakers, rechecked, recovered, refuse };
}

describe("the breaker of one tenant at one upstream", () => {
  test("opens at the fifth refusal in a row, for that tenant and upstream alone", () => {
    const at = stage();
    at.refuse(4);
    at.recordAccepted("acme", "keycloak");
    at.refuse(4);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    at.refuse(1);
    expect(at.ask("acme", "keycloak")).toEqual({ why: "refuses", until: new Date(30_000) });
    expect(at.ask("acme", "newapi")).toBeUndefined();
    expect(at.ask("other", "keycloak")).toBeUndefined();
    expect(at.open()).toMatchObject([{ upstream: "keycloak", why: "refuses" }]);
  });

  test("asks for the Tenant's check at the first refusal and when it opens, not at every one", () => {
    const at = stage();
    at.refuse(9);
    expect(at.rechecked).toEqual(["acme", "acme"]);
  });

  test("stays open while the check is red, and closes when it is green", () => {
    const at = stage();
    at.refuse(5);
    at.recordCheck("acme", "keycloak", false);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.recordCheck("acme", "newapi", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    expect(at.recovered).toEqual([["acme", true]]);
  });

  test("one to four refusals under a check that stays green: they are tried once more, slowly, and not again and again", () => {
    const at = stage();
    at.refuse(2);
    at.recordCheck("acme", "keycloak", true);
    // A colleague's call is let in meanwhile.
    at.recordAccepted("acme", "keycloak");
    expect(at.recovered).toEqual([]);
    vi.advanceTimersByTime(60_000);
    expect(at.recovered).toEqual([["acme", true]]);
    // Refused again: it is their own matter, and they stay with what they were told.
    at.refuse(2);
    vi.advanceTimersByTime(30 * 60_000);
    expect(at.recovered).toHaveLength(1);
    // Another trouble, much later.
    vi.advanceTimersByTime(60 * 60_000);
    at.refuse(1);
    vi.advanceTimersByTime(60_000);
    expect(at.recovered).toHaveLength(2);
  });

  test("closes when a call is let in after all", () => {
    const at = stage();
    at.refuse(5);
    at.recordAccepted("acme", "keycloak");
    expect(at.recovered).toEqual([["acme", true]]);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
  });

  test("believes a green check less and less while calls are refused under it, and stops nobody's word again", () => {
    const at = stage();
    at.refuse(5);
    at.recordCheck("acme", "keycloak", true);
    at.refuse(5);
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.rechecked.length = 0;
    vi.advanceTimersByTime(10_000);
    expect(at.rechecked).toEqual(["acme"]);
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    at.refuse(5);
    vi.advanceTimersByTime(19_999);
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    expect(at.recovered).toEqual([
      ["acme", true],
      ["acme", false],
    ]);
  });

  test("believes a green check at once when it was red before", () => {
    const at = stage();
    at.refuse(5);
    at.recordCheck("acme", "keycloak", true);
    at.refuse(5);
    at.recordCheck("acme", "keycloak", false);
    at.recordCheck("acme", "keycloak", true);
    expect(at.recovered.at(-1)).toEqual(["acme", true]);
  });
});

describe("a realm that alone does not answer", () => {
  const silences = (at: ReturnType<typeof stage>, people: readonly string[], begunAt = Date.now()): void => {
    for (const person of people) at.recordSilence("acme", "keycloak", person, begunAt);
  };

  test("holds its own tenant, after five calls of more than one person, and says that it is silent", () => {
    const at = stage();
    silences(at, ["ada", "ada", "ada", "ada", "ada", "ada"]);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    silences(at, ["bob"]);
    expect(at.ask("acme", "keycloak")).toEqual({ why: "silent", until: new Date(30_000) });
    expect(at.ask("other", "keycloak")).toBeUndefined();
    expect(at.rechecked).toEqual(["acme"]);
  });

  test("is not said of calls that began before somebody was answered", () => {
    const at = stage();
    vi.advanceTimersByTime(10_000);
    at.recordAccepted("acme", "keycloak");
    silences(at, ["ada", "bob", "ada", "bob", "ada"], 9_999);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
  });

  test("is believed to be back when the Tenant's check is green, and doubted when it is not so", () => {
    const at = stage();
    silences(at, ["ada", "bob", "ada", "bob", "ada"]);
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    expect(at.recovered).toEqual([["acme", true]]);
    silences(at, ["ada", "bob", "ada", "bob", "ada"]);
    at.recordCheck("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
  });
});
