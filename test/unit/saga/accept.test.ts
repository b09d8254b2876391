import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  accept,
  type Acceptance,
  type StoreSnapshot,
  type Claimant,
  type MirroredTenant,
} from "../../../src/saga/accept.ts";
import { sameJSON } from "../../../src/saga/revision.ts";
import { tenantSpecOf } from "../../support/tenantSpec.ts";

function claims(id: string, given: Partial<Claimant> = {}): Claimant {
  return {
    uid: `uid-${id}`,
    name: id,
    createdAt: "2026-01-01T00:00:00Z",
    deleting: false,
    spec: tenantSpecOf(id),
    accepted: undefined,
    ...given,
  };
}

function snapshot(uses: Record<string, string[]> = {}, mirror: readonly MirroredTenant[] = []): StoreSnapshot {
  const held = Object.entries(uses).map(([id, namespaces]) => [id, { rows: 1, namespaces }] as const);
  return { mirror, uses: new Map(held) };
}

function of(result: ReadonlyMap<string, Acceptance>, id: string): Acceptance {
  const found = result.get(`uid-${id}`);
  if (found === undefined) throw new Error(`nothing said of ${id}`);
  return found;
}

const later = "2026-02-01T00:00:00Z";

describe("Tenants in one realm", () => {
  const inRealm = (id: string, emailDomains: string[], given: Partial<Claimant> = {}) => {
    const spec = tenantSpecOf(id);
    return claims(id, {
      spec: { ...spec, keycloak: { ...spec.keycloak, realm: "shared" }, allow: { ...spec.allow, emailDomains } },
      ...given,
    });
  };
  const wasAccepted = (claimant: Claimant): Claimant => ({ ...claimant, accepted: claimant.spec });

  test("are accepted where each has domains of its own", () => {
    const two = [inRealm("acme", ["acme.example"]), inRealm("globex", ["globex.example"], { createdAt: later })];
    const result = accept(two, snapshot());
    for (const id of ["acme", "globex"]) expect(of(result, id).refusals).toEqual([]);
  });

  test.each([
    ["the younger names none", ["acme.example"], []],
    ["the older names none", [], ["globex.example"]],
    ["neither names any", [], []],
    ["one is named twice", ["acme.example", "both.example"], ["globex.example", "both.example"]],
  ])("the younger is refused, and told whose the realm is, where %s", (_what, older, younger) => {
    const two = [inRealm("acme", older), inRealm("globex", younger, { createdAt: later })];
    const result = accept(two, snapshot());
    expect(of(result, "acme")).toMatchObject({ accepted: { tenantID: "acme" }, refusals: [] });
    expect(of(result, "globex").accepted).toBeUndefined();
    expect(of(result, "globex").refusals).toMatchObject([
      { reason: "ClaimRefused", message: expect.stringMatching(/"acme".*allow\.emailDomains/) },
    ]);
    // In another realm, or of another Keycloak, anything goes.
    expect(
      of(accept([inRealm("acme", older), claims("globex", { createdAt: later })], snapshot()), "globex").refusals,
    ).toEqual([]);
  });

  test("what was accepted beats an older one that comes later", () => {
    const result = accept([inRealm("acme", []), wasAccepted(inRealm("globex", [], { createdAt: later }))], snapshot());
    expect(of(result, "acme").accepted).toBeUndefined();
    expect(of(result, "globex").refusals).toEqual([]);
  });

  test("a domain that is another's is not taken over; the accepted spec stays in force, whole", () => {
    const acme = inRealm("acme", ["acme.example", "globex.example"]);
    const accepted = inRealm("acme", ["acme.example"]).spec;
    const globex = wasAccepted(inRealm("globex", ["globex.example"], { createdAt: later }));
    const result = accept([{ ...acme, accepted }, globex], snapshot({ acme: ["acme"], globex: ["globex"] }));
    expect(of(result, "acme")).toMatchObject({ accepted, refusals: [{ reason: "ClaimRefused" }] });
    expect(of(result, "globex").refusals).toEqual([]);
  });

  test("those that are side by side from before stay, with their people, and the younger is told", () => {
    const two = [wasAccepted(inRealm("acme", [])), wasAccepted(inRealm("globex", [], { createdAt: later }))];
    const result = accept(two, snapshot({ acme: ["acme"], globex: ["globex"] }));
    expect(of(result, "acme").refusals).toEqual([]);
    expect(of(result, "globex")).toMatchObject({
      accepted: { tenantID: "globex" },
      refusals: [{ reason: "ClaimRefused" }],
    });
  });
});

describe("a Tenant by itself", () => {
  test("is accepted as it is", () => {
    expect(of(accept([claims("acme")], snapshot()), "acme")).toEqual({ accepted: tenantSpecOf("acme"), refusals: [] });
  });

  test("may change anything while it has no users", () => {
    const spec = tenantSpecOf("acme", { namespaces: ["other"] });
    const moved = { ...spec, keycloak: { ...spec.keycloak, realm: "new" } };
    const result = accept([claims("acme", { spec: moved, accepted: tenantSpecOf("acme") })], snapshot());
    expect(of(result, "acme")).toEqual({ accepted: moved, refusals: [] });
  });

  test.each([
    [
      "spec.keycloak.url",
      { keycloak: { url: "https://other.example.com", realm: "acme", credentialsSecretName: "k" } },
    ],
    ["spec.keycloak.realm", { keycloak: { ...tenantSpecOf("acme").keycloak, realm: "other" } }],
    ["spec.newapi.url", { newapi: { ...tenantSpecOf("acme").newapi, url: "https://other.example.com" } }],
    ["spec.newapi.dialect", { newapi: { ...tenantSpecOf("acme").newapi, dialect: "new-api" as const } }],
    ["spec.tenantID", { tenantID: "other" }],
  ])("keeps its whole accepted spec when %s changes while it has users", (field, change) => {
    const accepted = tenantSpecOf("acme");
    const spec = tenantSpecOf("acme", { ...change, limits: { maxUsers: 3 } });
    const result = of(accept([claims("acme", { spec, accepted })], snapshot({ acme: ["acme"] })), "acme");
    expect(result.accepted).toEqual(accepted);
    expect(result.refusals).toHaveLength(1);
    expect(result.refusals[0]).toMatchObject({ reason: "ChangeRefused", message: expect.stringContaining(field) });
  });

  test("takes over what is not fixed while it has users", () => {
    const spec = tenantSpecOf("acme", { namespaces: ["acme", "more"], suspend: true, limits: { maxUsers: 3 } });
    const result = accept([claims("acme", { spec, accepted: tenantSpecOf("acme") })], snapshot({ acme: ["acme"] }));
    expect(of(result, "acme")).toEqual({ accepted: spec, refusals: [] });
  });

  test("keeps a namespace that has users, and says which", () => {
    const accepted = tenantSpecOf("acme", { namespaces: ["busy", "idle"] });
    const leave = (namespaces: string[]) =>
      of(
        accept(
          [claims("acme", { spec: tenantSpecOf("acme", { namespaces }), accepted })],
          snapshot({ acme: ["busy"] }),
        ),
        "acme",
      );
    expect(leave(["busy"]).refusals).toEqual([]);
    expect(leave(["busy"]).accepted?.namespaces).toEqual(["busy"]);
    expect(leave(["idle"]).accepted).toEqual(accepted);
    expect(leave(["idle"]).refusals).toEqual([
      { reason: "ChangeRefused", message: expect.stringContaining('Namespace "busy" cannot leave') },
    ]);
  });

  test("on its way out takes no new namespace, but a new credential", () => {
    const accepted = tenantSpecOf("acme");
    const spec = tenantSpecOf("acme", {
      namespaces: ["acme", "more"],
      keycloak: { ...accepted.keycloak, credentialsSecretName: "fixed" },
    });
    const result = of(
      accept([claims("acme", { spec, accepted, deleting: true })], snapshot({ acme: ["acme"] })),
      "acme",
    );
    expect(result.accepted?.namespaces).toEqual(["acme"]);
    expect(result.accepted?.keycloak.credentialsSecretName).toBe("fixed");
  });

  test("on its way out and never accepted is accepted only for users that it has all the same", () => {
    const leaving = claims("acme", { deleting: true });
    expect(of(accept([leaving], snapshot()), "acme").accepted).toBeUndefined();
    expect(of(accept([leaving], snapshot({ acme: ["acme"] })), "acme").accepted).toEqual(tenantSpecOf("acme"));
  });
});

describe("what was accepted before", () => {
  const old = tenantSpecOf("acme", { namespaces: ["old"] });

  test("is told by the mirror rather than by a status that lags behind", () => {
    const result = accept(
      [claims("acme", { accepted: tenantSpecOf("acme", { namespaces: ["older"] }) })],
      snapshot({ acme: ["old"] }, [{ tenantID: "acme", objectUID: "uid-acme", accepted: old }]),
    );
    expect(of(result, "acme").accepted).toEqual(old);
  });

  test("is told by the status when the database is new", () => {
    const result = accept([claims("acme", { accepted: old })], snapshot({ acme: ["old"] }));
    expect(of(result, "acme").accepted).toEqual(old);
  });

  test("is told by the mirror of the Tenant that this one replaces", () => {
    const mirror = [{ tenantID: "acme", objectUID: "gone", accepted: old }];
    expect(of(accept([claims("acme")], snapshot({ acme: ["old"] }, mirror)), "acme").accepted).toEqual(old);
  });

  test("stays without a word while Postgres is silent, and nothing new is accepted", () => {
    const result = accept([claims("acme", { accepted: old }), claims("new")], undefined);
    expect(of(result, "acme")).toEqual({ accepted: old, refusals: [] });
    expect(of(result, "new")).toEqual({ accepted: undefined, refusals: [] });
  });
});

describe("Tenants that want the same", () => {
  test("the older one gets the namespace, the other one keeps the rest", () => {
    const result = accept(
      [
        claims("young", { createdAt: later, spec: tenantSpecOf("young", { namespaces: ["shared", "own"] }) }),
        claims("old", { spec: tenantSpecOf("old", { namespaces: ["shared"] }) }),
      ],
      snapshot(),
    );
    expect(of(result, "old").refusals).toEqual([]);
    expect(of(result, "young").accepted?.namespaces).toEqual(["own"]);
    expect(of(result, "young").refusals).toEqual([
      { reason: "ClaimRefused", message: expect.stringContaining('"shared" belongs to Tenant "old"') },
    ]);
  });

  test("an accepted namespace is not lost to an older Tenant that comes to want it", () => {
    const shared = tenantSpecOf("young", { namespaces: ["shared"] });
    const result = accept(
      [
        claims("old", { spec: tenantSpecOf("old", { namespaces: ["shared"] }) }),
        claims("young", { createdAt: later, spec: shared, accepted: shared }),
      ],
      snapshot(),
    );
    expect(of(result, "young").accepted).toEqual(shared);
    expect(of(result, "old").accepted?.namespaces).toEqual([]);
  });

  test("a namespace that is released is free at once", () => {
    const result = accept(
      [
        claims("old", { accepted: tenantSpecOf("old", { namespaces: ["old", "shared"] }) }),
        claims("young", { createdAt: later, spec: tenantSpecOf("young", { namespaces: ["shared"] }) }),
      ],
      snapshot(),
    );
    expect(of(result, "young").accepted?.namespaces).toEqual(["shared"]);
  });

  test("one tenant id has one Tenant; the other one gets nothing at all", () => {
    const result = accept(
      [
        claims("a", { spec: tenantSpecOf("acme", { namespaces: ["one"] }) }),
        claims("b", { createdAt: later, spec: tenantSpecOf("acme", { namespaces: ["two"] }) }),
      ],
      snapshot(),
    );
    expect(of(result, "a").accepted?.namespaces).toEqual(["one"]);
    expect(of(result, "b").accepted).toBeUndefined();
    expect(of(result, "b").refusals).toEqual([
      { reason: "ClaimRefused", message: expect.stringContaining('belongs to Tenant "a"') },
    ]);
  });
});

describe("whatever is asked", () => {
  const namespace = fc.constantFrom("n1", "n2", "n3", "n4");
  const spec = fc
    .record({
      id: fc.constantFrom("t1", "t2", "t3", "t4"),
      namespaces: fc.uniqueArray(namespace),
      realm: fc.constantFrom("r1", "r2"),
    })
    .map(({ id, namespaces, realm }) => {
      const plain = tenantSpecOf(id, { namespaces });
      return { ...plain, keycloak: { ...plain.keycloak, realm } };
    });
  const claimants = fc
    .array(
      fc.record({
        spec,
        createdAt: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        deleting: fc.boolean(),
      }),
      { maxLength: 6 },
    )
    .map((list) => list.map((each, index) => claims(`c${index}`, each)));
  const uses = fc
    .dictionary(fc.constantFrom("t1", "t2", "t3", "t4"), fc.uniqueArray(namespace))
    .map((held) => snapshot(held));

  /** A state that the decision itself has led to, and then new wishes. */
  const history = fc
    .record({ before: claimants, uses, wishes: fc.array(spec, { minLength: 6, maxLength: 6 }), newUsers: claimants })
    .map(({ before, uses: ledger, wishes, newUsers }) => {
      const first = accept(before, ledger);
      const settled = before.map((each, index) => ({
        ...each,
        accepted: first.get(each.uid)?.accepted,
        spec: wishes[index] ?? each.spec,
      }));
      const added = newUsers.map((each) => ({ ...each, uid: `new-${each.uid}`, name: `new-${each.name}` }));
      return { settled, all: [...settled, ...added], ledger };
    });

  test("a namespace is never granted to two, nor an id", () => {
    fc.assert(
      fc.property(history, ({ all, ledger }) => {
        const granted = [...accept(all, ledger).values()].flatMap(({ accepted }) => (accepted ? [accepted] : []));
        const namespaces = granted.flatMap((each) => each.namespaces);
        expect(new Set(namespaces).size).toBe(namespaces.length);
        expect(new Set(granted.map((each) => each.tenantID)).size).toBe(granted.length);
      }),
    );
  });

  test("what was accepted is never lost to a new user: only its own wishes can give it up", () => {
    fc.assert(
      fc.property(history, ({ settled, all, ledger }) => {
        const alone = accept(settled, ledger);
        const together = accept(all, ledger);
        for (const each of settled) {
          const before = each.accepted;
          if (before === undefined) continue;
          const now = together.get(each.uid)?.accepted;
          expect(now).toBeDefined();
          const kept = before.namespaces.filter((name) => alone.get(each.uid)?.accepted?.namespaces.includes(name));
          for (const name of kept) expect(now?.namespaces).toContain(name);
        }
      }),
    );
  });

  test("a namespace with users stays with its tenant", () => {
    fc.assert(
      fc.property(history, ({ settled, all, ledger }) => {
        const result = accept(all, ledger);
        for (const { uid, accepted } of settled) {
          if (accepted === undefined) continue;
          const used = ledger.uses.get(accepted.tenantID)?.namespaces ?? [];
          const held = used.filter((name) => accepted.namespaces.includes(name));
          for (const name of held) expect(result.get(uid)?.accepted?.namespaces).toContain(name);
        }
      }),
    );
  });

  test("the order of the list does not matter", () => {
    fc.assert(
      fc.property(
        history.chain(({ all, ledger }) =>
          fc.record({
            all: fc.constant(all),
            shuffled: fc.shuffledSubarray(all, { minLength: all.length }),
            ledger: fc.constant(ledger),
          }),
        ),
        ({ all, shuffled, ledger }) => {
          const [a, b] = [accept(all, ledger), accept(shuffled, ledger)];
          for (const { uid } of all) expect(b.get(uid)).toEqual(a.get(uid));
        },
      ),
    );
  });

  test("deciding again over what was decided comes to rest, however ids and namespaces pass from one to the next", () => {
    fc.assert(
      fc.property(history, ({ all, ledger }) => {
        const decide = (claimants: Claimant[]) => {
          const decided = accept(claimants, ledger);
          return claimants.map((each) => ({ ...each, accepted: decided.get(each.uid)?.accepted }));
        };
        let before = all;
        for (const _round of all) before = decide(before);
        expect(sameJSON(decide(before), before)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
