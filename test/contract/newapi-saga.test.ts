/**
 * Steps, decisions and a gateway of dialect new-api together, cut at every call: whatever is lost, one account, a key in
 * the Secret that works, at most two alive, and one in the end. At the stand-ins, or at somebody's real one.
 */
import { randomUUID } from "node:crypto";

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";

import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { type Advanced, afterFinish, afterUp, beforeUp } from "../../src/saga/advance.ts";
import { decide } from "../../src/saga/decide.ts";
import { patched, type SagaRow } from "../../src/saga/row.ts";
import { newapiStep } from "../../src/steps/newapi.ts";
import { secretStep } from "../../src/steps/secret.ts";
import { NOW, sagaRow, observationOf, tenantUser, tenantView, decisionInput } from "../support/builders.ts";
import type { FakeGateway } from "../support/fakeUpstreams.ts";
import { type CuttingProxy, startCuttingProxy } from "../support/cuttingProxy.ts";
import { candidates, personRequest, TENANT, type Target } from "../support/gateways.ts";
import { type Bench, makeBench } from "../support/stepContext.ts";

const CRITICAL = /\/api\/user\/login$|\/api\/token\/\d+\/key$|\/api\/user\/auth\/logout$/;
const subjects = candidates().filter(({ dialect, limits }) => dialect === "new-api" && !limits);

describe.skipIf(subjects.length === 0).each(subjects)("$name", ({ start, timeoutMs, generation }) => {
  vi.setConfig({ testTimeout: Math.max(timeoutMs, 120_000), hookTimeout: 120_000 });
  let target: Target;
  let proxy: CuttingProxy;
  let gateway: Gateway;
  const uuids: string[] = [];
  beforeAll(async () => {
    target = await start();
    proxy = await startCuttingProxy(target.url);
    gateway = target.client({ url: proxy.url });
  });
  afterEach(async () => {
    proxy.heal();
    for (const uuid of uuids.splice(0)) await target.remove(personRequest({ uuid }));
  });
  afterAll(async () => {
    await proxy.close();
    await target.close();
  });

  /** Somebody new, at every test and turn of one. */
  function fresh(): SagaRow {
    const uuid = randomUUID();
    uuids.push(uuid);
    return sagaRow({ tenantID: TENANT, uuid });
  }

  /** One person, as the engine would bring them along; what is recorded survives a cut. */
  function person(row: SagaRow = fresh(), bench: Bench = makeBench(gateway as FakeGateway)) {
    const state = { row, now: NOW };
    const seen: string[] = [];

    async function drive(user: LiveTenantUser): Promise<void> {
      // One claim: what a step has seen is forgotten when it ends.
      const carry = {};
      for (;;) {
        const observation = observationOf(user);
        if (observation.kind !== "present") throw new Error("the object is not there");
        const { desired } = observation;
        const action = decide(decisionInput({ row: state.row, observation, tenant: tenantView() }), state.now);
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
  type Driven = ReturnType<typeof person>;
  const marks = ({ state }: Driven) => ({ uuid: state.row.uuid, tenantID: TENANT });
  const tokens = async (of: Driven) => (await target.tokensOf(marks(of), proxy.url)).map(({ name }) => name);
  const criticalSince = (seq: number) => proxy.calls.slice(seq).filter((call) => CRITICAL.test(call)).length;
  const last = () => proxy.calls.length;
  /** The same person after the database is lost. */
  const forgotten = ({ state, bench }: Driven) => person(sagaRow({ tenantID: TENANT, uuid: state.row.uuid }), bench);
  const plain = tenantUser();

  test("a new person costs one login and one look at a key, and afterwards nothing that is counted", async () => {
    const began = last();
    const { drive, secretKey, state, bench } = person();
    await drive(plain.build());
    expect(await works(await secretKey())).toBe(true);
    const looks = proxy.calls.slice(began).filter((call) => /\/api\/token\/\d+\/key$/.test(call)).length;
    // Releases whose list shows whole keys need no look at one.
    expect(looks).toBe(generation === undefined ? looks : generation === "2026-02" ? 0 : 1);
    expect(criticalSince(began)).toBe(1 + looks);
    const seq = last();
    const edited = plain.withSpec({ displayName: "Ada L.", secret: { keys: { apiKey: "OPENAI_API_KEY" } } }).build();
    edited.metadata.generation = 2;
    await drive(edited);
    expect(state.row.handled?.generation).toBe(2);
    // The database is lost: the signature on the Secret tells that its key is this person's.
    const again = person(sagaRow({ tenantID: TENANT, uuid: state.row.uuid }));
    Object.assign(again.bench, { cluster: bench.cluster });
    const rebuilt = bench.context(again.state.row, edited);
    const result = await newapiStep.up({ ...rebuilt, row: { ...rebuilt.row, keycloakUserID: "kc-1" } }, bench.signal);
    await secretStep.up({ ...rebuilt, row: patched(rebuilt.row, result.learned) }, bench.signal);
    expect(criticalSince(seq)).toBe(0);
  });

  test("a Secret whose key is another one's, though it works, is put right", async () => {
    const [ada, bob] = [person(), person()];
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

  test.each(["after the Secret", "before the Secret"])(
    "a database that is lost in the middle of a rotation, %s, leaves the Secret's key alone alive",
    async (when) => {
      const one = person();
      const { drive, secretKey, bench } = one;
      await drive(plain.build());
      const rotate = plain.withSpec({ key: { generation: 1, overlap: "1h" } }).build();
      rotate.metadata.generation = 2;
      if (when === "before the Secret") {
        bench.cluster.break("replaceSecret", new Error("cut"));
        await drive(rotate).catch(() => undefined);
        bench.cluster.break("replaceSecret", undefined);
      } else await drive(rotate);
      expect(await tokens(one)).toHaveLength(2);
      const held = await secretKey();
      expect(await works(held)).toBe(true);

      const again = forgotten(one);
      await again.settle(rotate);
      expect((await again.secretKey()).equals(held)).toBe(true);
      expect(await works(held)).toBe(true);
      expect(await tokens(one)).toHaveLength(1);
      const seq = last();
      await forgotten(one).settle(rotate);
      expect(criticalSince(seq)).toBe(0);
    },
  );

  // No attempt has more calls; at a real one each costs a second.
  const turns = 20;
  describe.each(["dropAfter", "dropBefore"] as const)("with the n-th call cut (%s)", (cut) => {
    test("a new person ends with one account and one key that works", async () => {
      for (let n = 1; n < turns; n += 1) {
        const one = person();
        const { settle, secretKey } = one;
        proxy.cutNth(n, cut);
        await settle(plain.build());
        proxy.heal();
        expect(await works(await secretKey())).toBe(true);
        expect(await tokens(one)).toEqual(["unified-rbac-0"]);
        expect(await target.accountsOf(marks(one))).toHaveLength(1);
      }
    });

    test("a rotation never leaves the Secret without a working key, nor more than two, and ends with one", async () => {
      for (let n = 1; n < turns; n += 1) {
        const one = person();
        const { settle, drive, secretKey, state, seen } = one;
        await drive(plain.build());
        const before = await secretKey();
        const rotate = plain.withSpec({ key: { generation: 1, overlap: "1h" } }).build();
        rotate.metadata.generation = 2;
        proxy.cutNth(n, cut);
        for (let attempt = 0; attempt < 2; attempt += 1) {
          await drive(rotate).catch(() => undefined);
          proxy.heal();
          expect(await works(await secretKey())).toBe(true);
          expect((await tokens(one)).length).toBeLessThanOrEqual(2);
        }
        await settle(rotate);
        const fresh = await secretKey();
        expect(fresh.equals(before)).toBe(false);
        expect([await works(before), await works(fresh)]).toEqual([true, true]);
        expect(state.row).toMatchObject({ keyGeneration: 1, previousKeyUntil: new Date(NOW.getTime() + 3_600_000) });

        state.now = new Date(NOW.getTime() + 3_600_000);
        proxy.cutNth(n, cut);
        await settle(rotate);
        proxy.heal();
        expect([await works(before), await works(await secretKey())]).toEqual([false, true]);
        expect(await tokens(one)).toEqual(["unified-rbac-1"]);
        expect(state.row.previousKeyUntil).toBeUndefined();
        expect(seen).toEqual(["create", "edit", "retire"]);
      }
    });
  });

  test("without overlap the old key goes as soon as the Secret has the new one", async () => {
    const one = person();
    const { drive, secretKey, state } = one;
    await drive(plain.build());
    const before = await secretKey();
    const rotate = plain.withSpec({ key: { generation: 1 } }).build();
    rotate.metadata.generation = 2;
    await drive(rotate);
    expect([await works(before), await works(await secretKey())]).toEqual([false, true]);
    expect(await tokens(one)).toEqual(["unified-rbac-1"]);
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
    expect(await target.accountsOf(marks(one))).toHaveLength(1);
    expect(await tokens(one)).toHaveLength(1);
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
    expect(await tokens(one)).toHaveLength(1);
  });
});
