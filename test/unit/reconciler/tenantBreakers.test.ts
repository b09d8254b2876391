import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeTenantBreakers } from "../../../src/reconciler/tenantBreakers.ts";

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

function stage() {
  const suspected: string[] = [];
  const recovered: (readonly [string, boolean])[] = [];
  const breakers = makeTenantBreakers({
    clock: { now: () => Date.now() },
    suspect: (tenantID) => void suspected.push(tenantID),
    recovered: (...args) => void recovered.push(args),
  });
  const refuse = (times: number, tenantID = "acme") => {
    for (let n = 0; n < times; n += 1) breakers.refused(tenantID, "keycloak");
  };
  return { ...breakers, suspected, recovered, refuse };
}

describe("the breaker of one tenant at one neighbour", () => {
  test("opens at the fifth refusal in a row, for that tenant and neighbour alone", () => {
    const at = stage();
    at.refuse(4);
    at.letIn("acme", "keycloak");
    at.refuse(4);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    at.refuse(1);
    expect(at.ask("acme", "keycloak")).toEqual(new Date(30_000));
    expect(at.ask("acme", "newapi")).toBeUndefined();
    expect(at.ask("other", "keycloak")).toBeUndefined();
    expect(at.open()).toBe(1);
  });

  test("asks for the Tenant's check at the first refusal and when it opens, not at every one", () => {
    const at = stage();
    at.refuse(9);
    expect(at.suspected).toEqual(["acme", "acme"]);
  });

  test("stays open while the check is red, and closes when it is green", () => {
    const at = stage();
    at.refuse(5);
    at.checked("acme", "keycloak", false);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.checked("acme", "newapi", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.checked("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    expect(at.recovered).toEqual([["acme", true]]);
  });

  test("closes when a call is let in after all", () => {
    const at = stage();
    at.refuse(5);
    at.letIn("acme", "keycloak");
    expect(at.recovered).toEqual([["acme", true]]);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
  });

  test("believes a green check less and less while calls are refused under it, and stops nobody's word again", () => {
    const at = stage();
    at.refuse(5);
    at.checked("acme", "keycloak", true);
    at.refuse(5);
    at.checked("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    at.suspected.length = 0;
    vi.advanceTimersByTime(10_000);
    expect(at.suspected).toEqual(["acme"]);
    at.checked("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeUndefined();
    at.refuse(5);
    vi.advanceTimersByTime(19_999);
    at.checked("acme", "keycloak", true);
    expect(at.ask("acme", "keycloak")).toBeDefined();
    expect(at.recovered).toEqual([
      ["acme", true],
      ["acme", false],
    ]);
  });

  test("believes a green check at once when it was red before", () => {
    const at = stage();
    at.refuse(5);
    at.checked("acme", "keycloak", true);
    at.refuse(5);
    at.checked("acme", "keycloak", false);
    at.checked("acme", "keycloak", true);
    expect(at.recovered.at(-1)).toEqual(["acme", true]);
  });
});
