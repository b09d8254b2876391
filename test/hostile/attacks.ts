/** What somebody does who may commit to one tenant's repository, or runs that tenant's upstreams. Each ends with the signal. */
import { setTimeout as sleep } from "node:timers/promises";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import type { Quarter } from "../crash/fixture.ts";
import type { ApiServer } from "../support/apiServer.ts";
import type { Manifests } from "./manifests.ts";
import type { Random } from "./random.ts";
import type { HostileUpstream } from "./upstream.ts";

export interface Attacker {
  readonly api: ApiServer;
  readonly quarter: Quarter;
  readonly manifests: Manifests;
  readonly random: Random;
  readonly keycloak: HostileUpstream;
  readonly gateway: HostileUpstream;
  /** How many people are committed at once. */
  readonly crowd: number;
  /** By HTTP status, what the API server answered to commits of the attack that runs. */
  answered: Map<number, number>;
}

export interface Attack {
  readonly name: string;
  readonly run: (attacker: Attacker, signal: AbortSignal) => Promise<void>;
}

/** A commit a moment: as much as a Git host takes in, not as much as an API server does. */
const BETWEEN_MS = 20;

const pause = (signal: AbortSignal, ms = BETWEEN_MS) => sleep(ms, undefined, { signal }).catch(() => undefined);

/** As JSON, which carries what YAML refuses. Whatever the answer is: refused is well, too. */
async function commit(attacker: Attacker, object: object): Promise<void> {
  const { api, quarter, answered } = attacker;
  const { name } = (object as { metadata: { name: string } }).metadata;
  const path = objectPath("TenantUser", { namespace: quarter.namespace, name });
  const none = { status: 0 };
  const made = await api.send("POST", collectionPath("TenantUser", quarter.namespace), object).catch(() => none);
  const { status } =
    made.status === 409
      ? await api.send("PATCH", path, object, "application/merge-patch+json").catch(() => none)
      : made;
  answered.set(status, (answered.get(status) ?? 0) + 1);
}

const everybodyGoes = async ({ api, quarter }: Attacker): Promise<void> =>
  void (await api.send("DELETE", collectionPath("TenantUser", quarter.namespace)).catch(() => undefined));

async function* names(prefix: string, signal: AbortSignal): AsyncGenerator<string> {
  for (let n = 1; !signal.aborted; n += 1) {
    yield `${prefix}-${n}`;
    await pause(signal);
  }
}

export const ATTACKS: readonly Attack[] = [
  {
    name: "its Keycloak and its gateway answer everything but what they should",
    async run(attacker, signal) {
      attacker.keycloak.behave("mixed");
      attacker.gateway.behave("mixed");
      for await (const name of names("lied-to", signal)) {
        await commit(attacker, attacker.manifests.atTheLimit(name, attacker.quarter.email(name)));
        await pause(signal, 200);
      }
      attacker.keycloak.behave("pass");
      attacker.gateway.behave("pass");
    },
  },
  {
    name: "its Keycloak and its gateway serve one call a second",
    async run(attacker, signal) {
      attacker.keycloak.behave("slow");
      attacker.gateway.behave("slow");
      for (let n = 1; n <= 60 && !signal.aborted; n += 1)
        await commit(attacker, attacker.manifests.atTheLimit(`slow-${n}`, attacker.quarter.email(`slow-${n}`)));
      while (!signal.aborted) await pause(signal, 1_000);
      attacker.keycloak.behave("pass");
      attacker.gateway.behave("pass");
    },
  },
  {
    name: "it commits hostile text in every field and annotation",
    async run(attacker, signal) {
      const { manifests, random, quarter } = attacker;
      for await (const name of names("text", signal)) {
        // What the schema refuses reaches nobody but the API server: every third is one that it takes.
        const isTaken = random.below(3) === 0;
        await commit(attacker, isTaken ? manifests.atTheLimit(name, quarter.email(name)) : manifests.hostile(name));
      }
    },
  },
  {
    name: "it commits objects of 250 kB and tries 1.1 MB",
    async run(attacker, signal) {
      for await (const name of names("heavy", signal)) {
        const bytes = attacker.random.next() < 0.1 ? 1_100_000 : 240_000;
        await commit(attacker, attacker.manifests.heavy(name, attacker.quarter.email(name), bytes));
        await pause(signal, 100);
      }
    },
  },
  {
    name: "everybody in it wants one address",
    async run(attacker, signal) {
      const { manifests, quarter, crowd } = attacker;
      // In pairs, so that all of them wait before the phase is over.
      for (let n = 1; n <= crowd && !signal.aborted; n += 2) {
        const pair = [n, n + 1].map((each) => manifests.atTheLimit(`one-${each}`, quarter.email("one")));
        await Promise.all(pair.map((manifest) => commit(attacker, manifest)));
      }
      // The holder goes, and the next, and each time somebody of all who wait is to have it.
      for (let n = 1; !signal.aborted; n += 1) {
        await quarter.remove(`one-${n}`).catch(() => undefined);
        await pause(signal, 500);
      }
      await everybodyGoes(attacker);
    },
  },
  {
    name: "it edits the same people again and again",
    async run(attacker, signal) {
      const { manifests, quarter } = attacker;
      for (let n = 0; !signal.aborted; n += 1) {
        const name = `edited-${n % 20}`;
        await commit(attacker, manifests.heavy(name, quarter.email(name), 10 + (n % 7)));
        await pause(signal);
      }
    },
  },
  {
    name: "it creates and deletes the same people again and again",
    async run(attacker, signal) {
      const { manifests, quarter } = attacker;
      for (let n = 0; !signal.aborted; n += 1) {
        const name = `flicker-${n % 20}`;
        await commit(attacker, manifests.heavy(name, quarter.email(name), 10));
        await quarter.remove(name).catch(() => undefined);
        await pause(signal);
      }
    },
  },
];
