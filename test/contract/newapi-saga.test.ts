/**
 * Steps, decisions and a gateway of dialect new-api together, cut at every call: whatever is lost, one account, a key in
 * the Secret that works, at most two alive, and one in the end.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import type { Gateway } from "../../src/newapi/gateway.ts";
import { type Advanced, afterFinish, afterUp, beforeUp } from "../../src/saga/advance.ts";
import { decide } from "../../src/saga/decide.ts";
import { patched, type SagaRow } from "../../src/saga/row.ts";
import { newapiStep } from "../../src/steps/newapi.ts";
import { secretStep } from "../../src/steps/secret.ts";
import { NOW, sagaRow, sightOf, tenantUser, tenantView, view } from "../support/builders.ts";
import type { FakeGateway } from "../support/fakeNeighbours.ts";
import { candidates, TENANT, type Target } from "../support/gateways.ts";
import type { StandInControl } from "../support/standInControl.ts";
import { type Bench, makeBench } from "../support/stepContext.ts";

const CRITICAL = /\/api\/user\/login$|\/api\/token\/\d+\/key$/;
const subjects = candidates().filter(({ name }) => /new-api, (cookie|bearer) logins$/.test(name));

describe.each(subjects)("$name", ({ start }) => {
  let target: Target;
  let control: StandInControl;
  let gateway: Gateway;
  beforeAll(async () => {
    target = await start();
    control = target.control as StandInControl;
    gateway = target.client();
  });
  afterEach(() => control.reset());
  afterAll(() => target.close());

  /** One person, as the engine would bring them along; what is recorded survives a cut. */
  function person(row: SagaRow = sagaRow({ tenantID: TENANT })) {
    const bench: Bench = makeBench(gateway as FakeGateway);
    const state = { row, now: NOW };
    const seen: string[] = [];

    async function drive(user: LiveTenantUser): Promise<void> {
      // One claim: what a step has seen is forgotten when it ends.
      const carry = {};
      for (;;) {
        const sight = sightOf(user);
        if (sight.kind !== "present") throw new Error("the object is not there");
        const { desired } = sight;
        const action = decide(view({ row: state.row, sight, tenant: tenantView() }), state.now);
        const record = ({ patch }: Pick<Advanced, "patch">): void => {
          state.row = patched(state.row, patch);
        };
        if (action.kind === "up") {
          const intent = beforeUp(state.row, desired, action.run, new Date());
          if (intent !== undefined) record({ patch: intent });
          const context = bench.context(state.row, user, { carry, now: () => state.now.getTime() });
          const result =
            action.step === "keycloak"
              ? { learned: { keycloakUserID: "kc-1" } }
              : await (action.step === "newapi" ? newapiStep : secretStep).up(context, bench.signal);
          record(afterUp(state.row, action.run, result));
        } else if (action.kind === "finish") {
          seen.push(action.run.reason);
          record(afterFinish(state.row, action.run, desired, tenantView(), state.now));
        } else return;
      }
    }

    /** Until it is done, whatever fails; as often as the engine would retry. */
    async function settle(user: LiveTenantUser): Promise<void> {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await drive(user);
        } catch (error) {
          if (attempt > 5) throw error;
        }
      }
    }

    async function secretKey(): Promise<Sensitive> {
      const name = `newapi-key-${state.row.uuid}`;
      const secret = await bench.cluster.getSecret("tenant-a", name, bench.signal);
      return new Sensitive(Buffer.from(secret?.data?.["api-key"] ?? "", "base64").toString());
    }

    return { bench, state, seen, drive, settle, secretKey };
  }

  const works = async (key: Sensitive) => (await gateway.verifyKey(key, new AbortController().signal)) === "works";
  const tokens = async () => (await control.newApiUsers()).flatMap((user) => user.tokens);
  const criticalSince = async (seq: number) =>
    (await control.journal(seq)).filter(({ path }) => CRITICAL.test(path)).length;
  const last = async () => (await control.journal()).at(-1)?.seq ?? 0;
  const plain = tenantUser();

  test("a new person costs one login and one look at a key, and afterwards nothing that is counted", async () => {
    const { drive, secretKey, state, bench } = person();
    await drive(plain.build());
    expect(await works(await secretKey())).toBe(true);
    expect(await criticalSince(0)).toBe(2);
    const seq = await last();
    const edited = plain.withSpec({ displayName: "Ada L.", secret: { keys: { apiKey: "OPENAI_API_KEY" } } }).build();
    edited.metadata.generation = 2;
    await drive(edited);
    expect(state.row.handled?.generation).toBe(2);
    // The database is lost: the seal on the Secret tells that its key is this person's.
    const again = person(sagaRow({ tenantID: TENANT }));
    Object.assign(again.bench, { cluster: bench.cluster });
    const rebuilt = bench.context(again.state.row, edited);
    const result = await newapiStep.up({ ...rebuilt, row: { ...rebuilt.row, keycloakUserID: "kc-1" } }, bench.signal);
    await secretStep.up({ ...rebuilt, row: patched(rebuilt.row, result.learned) }, bench.signal);
    expect(await criticalSince(seq)).toBe(0);
  });

  test("a Secret whose key is another one's, though it works, is put right", async () => {
    const [ada, bob] = [person(), person(sagaRow({ tenantID: TENANT, uuid: "7f1e9a52-6c1f-5f0e-9d3b-2f6f0c1f7a11" }))];
    await ada.drive(plain.build());
    const own = await ada.secretKey();
    await bob.drive(plain.build());
    const secret = await ada.bench.cluster.getSecret("tenant-a", `newapi-key-${ada.state.row.uuid}`, ada.bench.signal);
    const { labels = {}, annotations = {}, name = "" } = secret?.metadata ?? {};
    const body = {
      namespace: "tenant-a",
      name,
      labels,
      annotations,
      data: { "api-key": (await bob.secretKey()).reveal() },
    };
    if (secret !== undefined) await ada.bench.cluster.replaceSecret(secret, body, ada.bench.signal);
    const run = { reason: "drift" as const, generation: 1, step: "secret" as const, attempt: 0, done: false };
    ada.state.row = { ...ada.state.row, run };
    await ada.drive(plain.build());
    expect((await ada.secretKey()).equals(own)).toBe(true);
  });

  describe.each(["dropAfter", "dropBefore"] as const)("with the n-th call cut (%s)", (cut) => {
    test("a new person ends with one account and one key that works", async () => {
      for (let n = 1; n < 25; n += 1) {
        await control.reset();
        const { settle, secretKey } = person();
        await control.fault({
          count: 1,
          after: n - 1,
          action: cut === "dropAfter" ? { dropAfter: true } : { dropBefore: true },
        });
        await settle(plain.build());
        await control.heal();
        expect(await works(await secretKey())).toBe(true);
        expect(await tokens()).toEqual(["unified-rbac-0"]);
      }
    });

    test("a rotation never leaves the Secret without a working key, nor more than two, and ends with one", async () => {
      for (let n = 1; n < 25; n += 1) {
        await control.reset();
        const { settle, drive, secretKey, state, seen } = person();
        await drive(plain.build());
        const before = await secretKey();
        const rotate = plain.withSpec({ key: { generation: 1, overlap: "1h" } }).build();
        rotate.metadata.generation = 2;
        await control.fault({
          count: 1,
          after: n - 1,
          action: cut === "dropAfter" ? { dropAfter: true } : { dropBefore: true },
        });
        for (let attempt = 0; attempt < 2; attempt += 1) {
          await drive(rotate).catch(() => undefined);
          await control.heal();
          expect(await works(await secretKey())).toBe(true);
          expect((await tokens()).length).toBeLessThanOrEqual(2);
        }
        await settle(rotate);
        const fresh = await secretKey();
        expect(fresh.equals(before)).toBe(false);
        expect([await works(before), await works(fresh)]).toEqual([true, true]);
        expect(state.row).toMatchObject({ keyGeneration: 1, previousKeyUntil: new Date(NOW.getTime() + 3_600_000) });

        state.now = new Date(NOW.getTime() + 3_600_000);
        await control.fault({
          count: 1,
          after: n - 1,
          action: cut === "dropAfter" ? { dropAfter: true } : { dropBefore: true },
        });
        await settle(rotate);
        await control.heal();
        expect([await works(before), await works(await secretKey())]).toEqual([false, true]);
        expect(await tokens()).toEqual(["unified-rbac-1"]);
        expect(state.row.previousKeyUntil).toBeUndefined();
        expect(seen).toEqual(["create", "edit", "retire"]);
      }
    });
  });

  test("without overlap the old key goes as soon as the Secret has the new one", async () => {
    const { drive, secretKey, state } = person();
    await drive(plain.build());
    const before = await secretKey();
    const rotate = plain.withSpec({ key: { generation: 1 } }).build();
    rotate.metadata.generation = 2;
    await drive(rotate);
    expect([await works(before), await works(await secretKey())]).toEqual([false, true]);
    expect(await tokens()).toEqual(["unified-rbac-1"]);
    expect(state.row.previousKeyUntil).toBeUndefined();
  });

  test("locked out and let in again it is the same key; locked from the first there is one all the same", async () => {
    const { drive, secretKey, state } = person();
    const off = plain.withSpec({ enabled: false }).build();
    await drive(off);
    const key = await secretKey();
    const verdict = () => gateway.verifyKey(key, new AbortController().signal);
    expect(await verdict()).toBe("disabled");
    const on = plain.build();
    on.metadata.generation = 2;
    await drive(on);
    expect(state.row.enabled).toBe(true);
    expect(await verdict()).toBe("works");
    expect((await secretKey()).equals(key)).toBe(true);
  });

  const leave = async ({ state, bench }: ReturnType<typeof person>): Promise<void> => {
    const context = bench.context(state.row);
    await secretStep.down(context, "remove", bench.signal);
    const down = await newapiStep.down(context, "remove", bench.signal);
    state.row = { ...patched(state.row, down), handled: undefined, secretUID: undefined };
  };

  test("whoever was deleted and returns is let in with another key", async () => {
    const one = person();
    const { drive, secretKey, state } = one;
    await drive(plain.build());
    const key = await secretKey();
    await leave(one);
    expect(await works(key)).toBe(false);
    // As the store binds a row that has ended.
    state.row = { ...state.row, state: "pending", reached: "pending", rotation: { toGeneration: 0 } };
    await drive(plain.build());
    expect(await works(await secretKey())).toBe(true);
    expect(await works(key)).toBe(false);
    expect(await control.newApiUsers()).toHaveLength(1);
    expect(await tokens()).toHaveLength(1);
  });

  test("whoever returns within the grace has the key of before", async () => {
    const one = person();
    const { drive, secretKey } = one;
    await drive(plain.build());
    const key = await secretKey();
    await leave(one);
    expect(await works(key)).toBe(false);
    await drive(plain.build());
    expect((await secretKey()).equals(key)).toBe(true);
    expect(await works(key)).toBe(true);
    expect(await tokens()).toHaveLength(1);
  });
});
