import { describe, expect, it } from "vitest";

import { type Act, EDITS, PARTS, planChaos, PROCESSES, type Wish } from "../../crash/chaosPlan.ts";

const SIZE = { seed: 7, people: 200, seconds: 60 };

function commitsOf(acts: readonly Act[]): ReadonlyMap<string, readonly Wish[]> {
  const commits = acts.flatMap((act) => (act.kind === "commit" ? [act] : []));
  return new Map(
    [...Map.groupBy(commits, ({ person }) => person)].map(([person, all]) => [person, all.map(({ wish }) => wish)]),
  );
}

describe("the plan of chaos", () => {
  const plan = planChaos(SIZE);

  it("is the same for the same seed and another for another", () => {
    expect(planChaos(SIZE)).toEqual(plan);
    expect(planChaos({ ...SIZE, seed: 8 })).not.toEqual(plan);
  });

  it("has its acts in order and within its time", () => {
    const times = plan.acts.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((one, other) => one - other));
    expect(Math.max(...times)).toBeLessThan(60_000);
  });

  it("kills a process every half to two seconds, and each of them", () => {
    const kills = plan.acts.filter((act) => act.kind === "kill");
    for (const [index, kill] of kills.slice(1).entries()) {
      const pause = kill.atMs - (kills[index]?.atMs ?? 0);
      expect(pause).toBeGreaterThanOrEqual(500);
      expect(pause).toBeLessThanOrEqual(2000);
    }
    expect(new Set(kills.map(({ process }) => process))).toEqual(new Set(PROCESSES));
  });

  it("restarts every part, in turn, and kills Keycloak never", () => {
    const restarts = plan.acts.filter((act) => act.kind === "restart");
    expect(restarts.map(({ part }) => part)).toEqual([...PARTS]);
    expect(restarts.filter(({ part, crash }) => part === "keycloak" && crash)).toEqual([]);
  });

  it("has every kind of edit, removals, and people who come again", () => {
    const wishes = [...commitsOf(plan.acts).values()];
    const differs = (field: keyof Wish): boolean =>
      wishes.some((all) => all.some((wish, index) => index > 0 && wish[field] !== all[index - 1]?.[field]));
    const fields: Readonly<Record<keyof typeof EDITS, keyof Wish>> = {
      enable: "enabled",
      suspend: "suspend",
      displayName: "displayName",
      email: "emailLocal",
      secretName: "secret",
      rotate: "key",
      groups: "groups",
    };
    for (const kind of Object.keys(EDITS)) expect([kind, differs(fields[kind] ?? "emailLocal")]).toEqual([kind, true]);
    const removed = plan.acts.flatMap((act) => (act.kind === "remove" ? [act.person] : []));
    const back = removed.filter((person) => plan.wanted.has(person));
    expect(removed.length).toBeGreaterThan(30);
    expect(back.length).toBeGreaterThan(5);
    expect(back.length).toBeLessThan(removed.length);
  });

  it("wants in the end what was committed last, and nobody suspended", () => {
    const last = commitsOf(plan.acts);
    for (const [person, wish] of plan.wanted) {
      expect(last.get(person)?.at(-1)).toEqual(wish);
      expect(wish.suspend ?? false).toBe(false);
    }
    const emails = [...plan.wanted.values()].map(({ emailLocal }) => emailLocal);
    expect(new Set(emails).size).toBe(emails.length);
  });
});
