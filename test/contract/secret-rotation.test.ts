/**
 * A rotation when the Secret cannot be written: frozen, held by a finalizer, refused by a quota or a policy, somebody
 * else's. The key that stands in the Secret stays alive until another one can stand there, at gateways of both dialects,
 * whatever call is cut.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import type { LiveTenantUser, TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { WaitingError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { type Advanced, afterFinish, afterUp, beforeUp } from "../../src/saga/advance.ts";
import { decide } from "../../src/saga/decide.ts";
import { patched } from "../../src/saga/row.ts";
import { newapiStep } from "../../src/steps/newapi.ts";
import { secretStep } from "../../src/steps/secret.ts";
import { NOW, sagaRow, observationOf, tenantUser, tenantView, decisionInput } from "../support/builders.ts";
import type { FakeGateway } from "../support/fakeUpstreams.ts";
import { candidates, TENANT, type Target } from "../support/gateways.ts";
import type { StandInControl } from "../support/standInControl.ts";
import { makeBench } from "../support/stepContext.ts";

const subjects = candidates().filter(({ name }) => /admin-v1$|new-api, bearer logins$/.test(name));
const NAME = /^newapi-key-/;

describe.each(subjects)("$name", ({ start, dialect }) => {
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

  /** One person with a Secret, as the engine would bring them along; what is recorded survives a cut. */
  async function person() {
    const bench = makeBench(gateway as FakeGateway);
    const state = { row: sagaRow({ tenantID: TENANT }), now: NOW };
    const record = ({ patch }: Pick<Advanced, "patch">): void => {
      state.row = patched(state.row, patch);
    };

    async function drive(user: LiveTenantUser): Promise<void> {
      const carry = {};
      for (;;) {
        const observation = observationOf(user);
        if (observation.kind !== "present") throw new Error("the object is not there");
        const { desired } = observation;
        const action = decide(decisionInput({ row: state.row, observation, tenant: tenantView() }), state.now);
        if (action.kind === "up") {
          const intent = beforeUp(state.row, desired, action.run, new Date());
          if (intent !== undefined) record({ patch: intent });
          const context = bench.context(state.row, user, {
            carry,
            now: () => state.now.getTime(),
            note: (patch) => Promise.resolve(record({ patch })),
          });
          const result =
            action.step === "keycloak"
              ? { learned: { keycloakUserID: "kc-1" } }
              : await (action.step === "newapi" ? newapiStep : secretStep).up(context, bench.signal);
          record(afterUp(state.row, action.run, result));
        } else if (action.kind === "finish") {
          record(afterFinish(state.row, action.run, desired, tenantView(), state.now));
        } else return;
      }
    }

    /** Until it is done, as often as the engine would retry; `between` is called after each attempt that failed. */
    async function settle(user: LiveTenantUser, between: () => Promise<void> = () => Promise.resolve()): Promise<void> {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await drive(user);
        } catch (error) {
          if (attempt > 6) throw error;
          await between();
        }
      }
    }

    const name = (): string => state.row.secretName ?? "";
    const secret = () => bench.cluster.secret("tenant-a", name());
    const key = (): Sensitive => new Sensitive(Buffer.from(secret()?.data?.["api-key"] ?? "", "base64").toString());
    await drive(wanting());
    return { bench, state, drive, settle, secret, key, name };
  }

  function wanting(spec: Partial<TenantUserSpecInput> = {}, generation = 1): LiveTenantUser {
    const user = tenantUser().withSpec(spec).build();
    user.metadata.generation = generation;
    return user;
  }

  const rotation = (): LiveTenantUser => wanting({ key: { generation: 1, overlap: "1h" } }, 2);
  const works = async (key: Sensitive) => (await gateway.verifyKey(key, new AbortController().signal)) === "works";
  const liveKeys = async (): Promise<number> =>
    dialect === "admin-v1"
      ? (await control.users()).reduce((sum, { liveKeys: live }) => sum + live, 0)
      : (await control.newApiUsers()).flatMap(({ tokens }) => tokens).length;

  const freeze = (ada: Awaited<ReturnType<typeof person>>): void =>
    ada.bench.cluster.editSecret("tenant-a", ada.name(), { immutable: true });

  test("a Secret that somebody made immutable is made again, with the new key", async () => {
    const ada = await person();
    const [old, uid] = [ada.key(), ada.secret()?.metadata.uid];
    ada.bench.cluster.editSecret("tenant-a", ada.name(), {
      immutable: true,
      metadata: { annotations: { theirs: "x" } },
    });
    // The signature went with the annotations that somebody replaced: it is ours by its uid all the same.
    await ada.drive(rotation());
    expect(ada.secret()).not.toHaveProperty("immutable");
    expect(ada.secret()?.metadata.uid).not.toBe(uid);
    expect(ada.state.row.secretUID).toBe(ada.secret()?.metadata.uid);
    expect(ada.secret()?.metadata.annotations).toMatchObject({ theirs: "x" });
    expect(ada.key().equals(old)).toBe(false);
    expect(await works(ada.key())).toBe(true);
    expect(ada.state.row.keyGeneration).toBe(1);
    expect(await liveKeys()).toBe(dialect === "admin-v1" ? 1 : 2);
  });

  test("an edit of an immutable Secret keeps the key and makes the Secret again", async () => {
    const ada = await person();
    const old = ada.key();
    freeze(ada);
    await ada.drive(wanting({ secret: { keys: { apiKey: "OPENAI_API_KEY" } } }, 2));
    const held = ada.secret()?.data?.["OPENAI_API_KEY"] ?? "";
    expect(old.equals(new Sensitive(Buffer.from(held, "base64").toString()))).toBe(true);
    expect(await liveKeys()).toBe(1);
  });

  test.each(["before", "after"] as const)(
    "cut %s any write of the Secret, nothing is doubled and nothing lost",
    async (when) => {
      let cuts = 0;
      for (const method of ["createSecret", "replaceSecret", "deleteSecret"] as const) {
        for (let n = 1; n <= 3; n += 1) {
          await control.reset();
          const ada = await person();
          freeze(ada);
          const cluster = ada.bench.cluster;
          const plain = cluster[method].bind(cluster) as (...args: unknown[]) => Promise<unknown>;
          let calls = 0;
          const cut = async (...args: unknown[]): Promise<unknown> => {
            calls += 1;
            if (calls !== n) return plain(...args);
            cuts += 1;
            if (when === "after") await plain(...args);
            throw new Error("cut");
          };
          Object.assign(cluster, { [method]: cut });
          await ada.settle(rotation(), async () => {
            // What stands there while nobody works opens the gateway, unless it is being replaced at one that keeps one key.
            const isOpen = ada.secret() === undefined || dialect === "admin-v1" || (await works(ada.key()));
            expect(isOpen).toBe(true);
          });
          expect(await works(ada.key())).toBe(true);
          expect(ada.secret()?.metadata.uid).toBe(ada.state.row.secretUID);
          expect(ada.state.row.keyGeneration).toBe(1);
          expect(await liveKeys()).toBe(dialect === "admin-v1" ? 1 : 2);
          expect((await cluster.listOwnSecrets("tenant-a", ada.bench.signal)).length).toBe(1);
        }
      }
      expect(cuts).toBeGreaterThanOrEqual(3);
    },
  );

  test.each(["dropBefore", "dropAfter"] as const)("cut at any call of the gateway (%s) likewise", async (cut) => {
    for (let n = 1; n <= 12; n += 1) {
      await control.reset();
      const ada = await person();
      freeze(ada);
      await control.fault({
        count: 1,
        after: n - 1,
        action: cut === "dropAfter" ? { dropAfter: true } : { dropBefore: true },
      });
      await ada.settle(rotation());
      await control.heal();
      expect(await works(ada.key())).toBe(true);
      expect(ada.secret()?.metadata.uid).toBe(ada.state.row.secretUID);
      expect(await liveKeys()).toBe(dialect === "admin-v1" ? 1 : 2);
    }
  });

  test("a finalizer of somebody on a frozen Secret: it waits, the old key stays there and alive, and resumes", async () => {
    const ada = await person();
    const old = ada.key();
    ada.bench.cluster.editSecret("tenant-a", ada.name(), {
      immutable: true,
      metadata: { finalizers: ["theirs/hold"] },
    });
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      await expect(ada.drive(rotation())).rejects.toMatchObject({ class: "waiting", code: "SecretTerminating" });
      expect(ada.key().equals(old)).toBe(true);
      expect(await works(old)).toBe(true);
      expect(await liveKeys()).toBe(1);
    }
    await expect(ada.drive(rotation())).rejects.toThrow("theirs/hold");
    ada.bench.cluster.editSecret("tenant-a", ada.name(), { metadata: { finalizers: [] } });
    await ada.drive(rotation());
    expect(ada.key().equals(old)).toBe(false);
    expect(await works(ada.key())).toBe(true);
  });

  test.each([
    [403, "exceeded quota: secrets"],
    [403, 'admission webhook "no.example" denied the request'],
    [422, "metadata.annotations: Too long"],
  ])(
    "writes that are refused (%i, %s): the old key stays there and alive, and no other is made",
    async (status, said) => {
      const ada = await person();
      const old = ada.key();
      const refused = {
        code: "SecretRefused",
        upstream: "kubernetes",
        upstreamStatus: status,
        message: said,
      } as const;
      for (const frozen of [false, true]) {
        if (frozen) freeze(ada);
        ada.bench.cluster.admitSecrets((_operation, { name }) => {
          if (NAME.test(name)) throw new WaitingError(refused);
        });
        for (let attempt = 1; attempt <= 3; attempt += 1) {
          await expect(ada.drive(rotation())).rejects.toMatchObject({ code: "SecretRefused" });
          expect(ada.key().equals(old)).toBe(true);
          expect(await works(old)).toBe(true);
          expect(await liveKeys()).toBe(1);
        }
      }
      ada.bench.cluster.admitSecrets(undefined);
      await ada.drive(rotation());
      expect(ada.key().equals(old)).toBe(false);
      expect(await works(ada.key())).toBe(true);
    },
  );

  test.each([
    ["and then it is to rotate", ["newapi-key-mine"]],
    ["and it is to rotate back where it was", [undefined]],
    ["and it is to rotate back where it was, and then to move once more", [undefined, "newapi-key-mine"]],
  ])("cut after it was posted where it moves, %s: it is known to be ours when the key is another", async (_, names) => {
    const ada = await person();
    const { cluster } = ada.bench;
    const plain = cluster.createSecret.bind(cluster);
    cluster.createSecret = async (...args) => {
      await plain(...args);
      cluster.createSecret = plain;
      throw new Error("cut");
    };
    await expect(ada.drive(wanting({ secret: { name: "newapi-key-mine" } }, 2))).rejects.toThrow("cut");
    let generation = 2;
    for (const name of names) {
      // The worker dies as soon as the key is another, and comes to no write of a Secret.
      const isLast = name === names.at(-1);
      const get = cluster.getSecret.bind(cluster);
      const replaced = async (): Promise<boolean> => !(await works(ada.key()));
      if (!isLast) {
        cluster.getSecret = async (...args) => {
          if (await replaced()) throw new Error("cut");
          return get(...args);
        };
      }
      generation += 1;
      const user = wanting({ secret: { name }, key: { generation: 1, overlap: "1h" } }, generation);
      if (isLast) await ada.settle(user);
      else await ada.drive(user).catch(() => undefined);
      cluster.getSecret = get;
    }
    expect(ada.name()).toBe(names.at(-1) ?? `newapi-key-${ada.state.row.uuid}`);
    expect(ada.secret()?.metadata.uid).toBe(ada.state.row.secretUID);
    expect(await works(ada.key())).toBe(true);
    expect(ada.state.row.keyGeneration).toBe(1);
    expect((await cluster.listOwnSecrets("tenant-a", ada.bench.signal)).length).toBe(1);
  });

  test("somebody else's Secret in the place of ours: no key is taken away or made for it", async () => {
    const ada = await person();
    const old = ada.key();
    ada.bench.cluster.removeSecret("tenant-a", ada.name());
    ada.bench.cluster.applySecret("tenant-a", ada.name(), { theirs: "x" });
    await expect(ada.drive(rotation())).rejects.toMatchObject({ code: "SecretForeign" });
    expect(await works(old)).toBe(true);
    expect(await liveKeys()).toBe(1);
  });
});
