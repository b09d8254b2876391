import { describe, expect, test } from "vitest";
import { TransientError } from "../../../src/lib/errors.ts";
import type { SagaRow } from "../../../src/saga/row.ts";
import { newapiStep } from "../../../src/steps/newapi.ts";
import { secretStep } from "../../../src/steps/secret.ts";
import { afterFinish, beforeUp } from "../../../src/saga/advance.ts";
import { desire } from "../../../src/saga/desired.ts";
import { ADA, deletingRow, doneRow, handled, NOW, sagaRow, tenant, tenantUser } from "../../support/builders.ts";
import { type FakeGateway, makeFakeGateway } from "../../support/fakeUpstreams.ts";
import { type Bench, learned, makeBench } from "../../support/stepContext.ts";

const known = (given: Partial<SagaRow> = {}) => sagaRow({ keycloakUserID: "kc-1", ...given });
const lost = () => new TransientError({ code: "UpstreamUnavailable", message: "No answer." });

/** Account and Secret are there. */
async function established(bench: Bench): Promise<SagaRow> {
  const context = bench.context(known());
  const row = learned(known(), (await newapiStep.up(context, bench.signal)).learned);
  const { learned: secret } = await secretStep.up({ ...context, row }, bench.signal);
  bench.wrote.length = 0;
  bench.gateway.calls.length = 0;
  return learned(row, { ...secret, handled: handled() });
}

describe("going up", () => {
  test("makes the account and carries its key to the Secret, never into the row", async () => {
    const bench = makeBench();
    const context = bench.context(known());
    const result = await newapiStep.up(context, bench.signal);
    expect(result.learned).toEqual({
      newapiUserID: "na-1",
      newapiUsername: "na-1",
      enabled: true,
      masterKey: null,
    });
    expect((await context.carry.account?.apiKey(bench.signal))?.reveal()).toBe("sk-key-1");
    expect(JSON.stringify([result, bench.wrote])).not.toContain("sk-key");
    expect(bench.gateway.accounts.get(ADA)?.request).toMatchObject({
      tier: "default",
      keycloakUserID: "kc-1",
      keycloakRealm: "acme",
    });
  });

  test("an answer that was lost makes no second account", async () => {
    const bench = makeBench();
    bench.gateway.fail("ensure", lost(), "after");
    await expect(newapiStep.up(bench.context(known()), bench.signal)).rejects.toThrow("No answer.");
    await newapiStep.up(bench.context(known()), bench.signal);
    expect(bench.gateway.accounts.size).toBe(1);
  });

  test("without a Keycloak user there is no account", async () => {
    const bench = makeBench();
    await expect(newapiStep.up(bench.context(sagaRow()), bench.signal)).rejects.toMatchObject({ class: "terminal" });
    expect(bench.gateway.calls).toEqual([]);
  });

  test("switches only what is to be another way", async () => {
    const bench = makeBench();
    const row = await established(bench);
    const off = tenantUser().withSpec({ enabled: false }).build();
    const disabled = learned(row, (await newapiStep.up(bench.context(row, off), bench.signal)).learned);
    expect(bench.gateway.accounts.get(ADA)?.disabled).toBe(true);
    await newapiStep.up(bench.context(disabled, off), bench.signal);
    const enabled = learned(disabled, (await newapiStep.up(bench.context(disabled), bench.signal)).learned);
    await newapiStep.up(bench.context(enabled), bench.signal);
    expect(bench.wrote).toEqual([
      { action: "disabled", target: "na-1" },
      { action: "enabled", target: "na-1" },
    ]);
  });

  test("one who is to be locked out from the first is", async () => {
    const bench = makeBench();
    await newapiStep.up(bench.context(known(), tenantUser().withSpec({ enabled: false }).build()), bench.signal);
    expect(bench.gateway.accounts.get(ADA)?.disabled).toBe(true);
  });

  test("says what this gateway cannot follow, and only then", async () => {
    const bench = makeBench();
    const row = {
      ...(await established(bench)),
      run: { reason: "edit" as const, generation: 2, step: "newapi" as const, attempt: 0, done: false },
    };
    const user = tenantUser()
      .withSpec({ email: "grace@example.com", newapi: { tier: "gold", quota: 5 } })
      .build();
    expect((await newapiStep.up(bench.context(row, user), bench.signal)).notes).toHaveLength(3);
    expect((await newapiStep.up(bench.context(row), bench.signal)).notes).toEqual([]);
    const able = makeBench(makeFakeGateway({ tier: true, quota: true, email: true }));
    expect((await newapiStep.up(able.context(row, user), able.signal)).notes).toEqual([]);
  });
});

describe("an account that another person had before", () => {
  for (const overlap of [false, true]) {
    for (const enabled of [true, false]) {
      test(`gets another key at once, ${overlap ? "with" : "without"} overlap, ${enabled ? "enabled" : "locked"}`, async () => {
        const bench = makeBench(makeFakeGateway({ overlap }));
        const row = { ...(await established(bench)), toReset: ["newapi"], rotation: { toGeneration: 0 } } as const;
        const user = tenantUser()
          .withSpec({ enabled, key: { generation: 0, overlap: "7d" } })
          .build();
        await newapiStep.up(bench.context(row, user), bench.signal);
        expect(bench.gateway.accounts.get(ADA)?.key).toBe("sk-key-1-rotated");
      });
    }
  }

  test("is rotated also where nothing else asks for it, with no overlap, and once", () => {
    const user = tenantUser()
      .withSpec({ key: { generation: 0, overlap: "7d" } })
      .build();
    const desired = desire(user, tenant());
    const row = doneRow({ toReset: ["newapi"], handled: undefined });
    const run = { reason: "recovered", generation: 1, step: "keycloak", attempt: 0, done: false } as const;
    const intent = beforeUp(row, desired, run, NOW);
    expect(intent?.rotation).toMatchObject({ toGeneration: 0 });
    const finished = { ...row, rotation: intent?.rotation ?? undefined };
    const { patch, next } = afterFinish(
      finished,
      { ...run, done: true, rotated: true, leavesPrevious: true },
      desired,
      { revision: "r1", ready: true, message: "", deletionGraceMs: 0 },
      NOW,
    );
    expect(patch).toMatchObject({ rotation: null, toReset: null, previousKeyUntil: NOW });
    expect(next).toEqual({ kind: "retry", at: NOW });
  });
});

describe("an account of which no row tells", () => {
  /** Undone, and then the database was lost. */
  async function leftBehind(bench: Bench): Promise<void> {
    const row = await established(bench);
    const deleting = learned(row, { state: "deleting", deleting: deletingRow().deleting });
    await secretStep.down(bench.context(deleting), "remove", bench.signal);
    await newapiStep.down(bench.context(deleting), "remove", bench.signal);
    expect(bench.gateway.accounts.get(ADA)).toMatchObject({ disabled: true, key: "sk-key-1" });
  }

  test.each([true, false])(
    "is opened with another key than the one that was given up, enabled: %s",
    async (enabled) => {
      const bench = makeBench();
      await leftBehind(bench);
      const context = bench.context(known(), tenantUser().withSpec({ enabled }).build());
      const row = learned(learned(known(), bench.notes[0] ?? {}), (await newapiStep.up(context, bench.signal)).learned);
      expect(bench.gateway.accounts.get(ADA)).toMatchObject({ disabled: !enabled, key: "sk-key-1-rotated" });
      expect(bench.notes).toMatchObject([{ newapiUserID: "na-1", toReset: ["newapi"], rotation: { toGeneration: 0 } }]);
      await secretStep.up({ ...context, row }, bench.signal);
      expect(JSON.stringify(await bench.cluster.getSecret("tenant-a", `newapi-key-${ADA}`, bench.signal))).toContain(
        Buffer.from("sk-key-1-rotated").toString("base64"),
      );
    },
  );

  test("has its key replaced after a cut, too", async () => {
    const bench = makeBench();
    await leftBehind(bench);
    bench.gateway.fail("rotate", lost(), "before");
    await expect(newapiStep.up(bench.context(known()), bench.signal)).rejects.toThrow("No answer.");
    const noted = learned(known(), bench.notes[0] ?? {});
    await newapiStep.up(bench.context(noted), bench.signal);
    expect(bench.gateway.accounts.get(ADA)?.key).toBe("sk-key-1-rotated");
  });

  test.each([true, false])("keeps the key that the person's Secret holds, enabled: %s", async (enabled) => {
    const bench = makeBench();
    const row = await established(bench);
    const user = tenantUser().withSpec({ enabled }).build();
    if (!enabled) await newapiStep.up(bench.context(row, user), bench.signal);
    await newapiStep.up(bench.context(known(), user), bench.signal);
    expect(bench.gateway.accounts.get(ADA)?.key).toBe("sk-key-1");
    expect(bench.notes).toEqual([]);
  });
});

describe("rotation", () => {
  const rotating = (row: SagaRow) => ({ ...row, rotation: { toGeneration: 1 } });

  test("as long as the gateway's key is the one in the Secret it rotates", async () => {
    const bench = makeBench();
    const row = rotating(await established(bench));
    const context = bench.context(row);
    await newapiStep.up(context, bench.signal);
    expect(context.carry.freshKey?.reveal()).toBe("sk-key-1-rotated");
    expect(bench.wrote).toEqual([{ action: "rotated", target: "na-1" }]);
  });

  test("else it has happened, and is only to be written", async () => {
    const bench = makeBench();
    const row = rotating(await established(bench));
    bench.gateway.fail("rotate", lost(), "after");
    await expect(newapiStep.up(bench.context(row), bench.signal)).rejects.toThrow("No answer.");
    const context = bench.context(row);
    await newapiStep.up(context, bench.signal);
    expect(bench.gateway.calls.filter((call) => call === "rotate")).toHaveLength(1);
    expect((await context.carry.account?.apiKey(bench.signal))?.reveal()).toBe("sk-key-1-rotated");
  });

  test("a call that did not get through is made again", async () => {
    const bench = makeBench();
    const row = rotating(await established(bench));
    bench.gateway.fail("rotate", lost());
    await expect(newapiStep.up(bench.context(row), bench.signal)).rejects.toThrow("No answer.");
    await newapiStep.up(bench.context(row), bench.signal);
    expect(bench.gateway.accounts.get(ADA)?.key).toBe("sk-key-1-rotated");
  });

  test("a run that begins again after it has rotated does not rotate again", async () => {
    const bench = makeBench();
    const row = rotating(await established(bench));
    const run = {
      reason: "edit" as const,
      generation: 2,
      step: "keycloak" as const,
      attempt: 0,
      done: false,
      rotated: true,
    };
    await newapiStep.up(bench.context({ ...row, run }), bench.signal);
    expect(bench.gateway.calls).not.toContain("rotate");
  });

  test("a new account needs none", async () => {
    const bench = makeBench();
    await newapiStep.up(bench.context(rotating(known())), bench.signal);
    expect(bench.gateway.calls).not.toContain("rotate");
  });

  test("an account that goes in between is an account that is gone", async () => {
    const bench = makeBench();
    const row = rotating(await established(bench));
    bench.gateway.fail("rotate", lost());
    await newapiStep.up(bench.context(row), bench.signal).catch(() => undefined);
    bench.gateway.accounts.clear();
    await newapiStep.up(bench.context(row), bench.signal);
    expect(bench.gateway.accounts.size).toBe(1);
  });
});

describe("going down", () => {
  test("disables the account, with grace and without", async () => {
    for (const how of ["lock", "remove"] as const) {
      const bench = makeBench();
      const row = await established(bench);
      expect(await newapiStep.down(bench.context(row), how, bench.signal)).toEqual({
        newapiUserID: "na-1",
        enabled: false,
      });
      expect(bench.gateway.accounts.get(ADA)?.disabled).toBe(true);
    }
  });

  test("one whose id was never recorded is found by its uuid", async () => {
    const bench = makeBench();
    const row = await established(bench);
    await newapiStep.down(bench.context({ ...row, newapiUserID: undefined }), "remove", bench.signal);
    expect(bench.gateway.accounts.get(ADA)?.disabled).toBe(true);
  });

  test("what is not there is undone", async () => {
    const bench = makeBench();
    expect(
      await newapiStep.down(bench.context(deletingRow({ newapiUserID: undefined })), "remove", bench.signal),
    ).toEqual({});
    await newapiStep.down(bench.context(deletingRow()), "remove", bench.signal);
    expect(bench.wrote).toEqual([]);
  });
});

describe("a deletion for good", () => {
  function removing() {
    const removed: string[] = [];
    const gateway: FakeGateway = {
      ...makeFakeGateway(),
      remove: ({ uuid }, wrote) => {
        removed.push(uuid);
        wrote("key-deleted");
        wrote("deleted");
        return Promise.resolve();
      },
    };
    return { bench: makeBench(gateway), removed };
  }

  test("is done when the Tenant asks for it, each write told, and the id stays on record for the event", async () => {
    const { bench, removed } = removing();
    const context = { ...bench.context(deletingRow({ newapiUserID: "7" })), accountDeletion: "Delete" } as const;
    const learnedNow = await newapiStep.down(context, "remove", bench.signal);
    expect(removed).toEqual([ADA]);
    expect(bench.wrote.map(({ action }) => action)).toEqual(["key-deleted", "deleted"]);
    expect(learnedNow).toEqual({ enabled: false, masterKey: null });
  });

  test.each([
    ["lock", "Delete"],
    ["remove", "Disable"],
  ] as const)("is not done for %s with %s", async (how, accountDeletion) => {
    const { bench, removed } = removing();
    const context = { ...bench.context(deletingRow({ newapiUserID: "7" })), accountDeletion };
    await newapiStep.down(context, how, bench.signal);
    expect(removed).toEqual([]);
    expect(bench.gateway.calls).toContain("disable");
  });

  test("is a lock at a gateway that cannot delete", async () => {
    const bench = makeBench();
    const context = { ...bench.context(deletingRow({ newapiUserID: "7" })), accountDeletion: "Delete" } as const;
    await newapiStep.down(context, "remove", bench.signal);
    expect(bench.gateway.calls).toContain("disable");
  });
});
