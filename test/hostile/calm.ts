/** What the other tenant's people notice: how long each of their everyday things takes, one after the other. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import { isReady, type Quarter } from "../crash/fixture.ts";
import type { Door } from "../crash/faults.ts";
import type { ApiServer } from "../support/apiServer.ts";

export const EVERYDAY = ["creation", "edit", "drift", "relist", "deletion"] as const;
export type Everyday = (typeof EVERYDAY)[number];

/**
 * Milliseconds, each time that it was done. `floor`: the same writes without the product, which take longer, too, on a machine
 * that is busy with an attack.
 */
export type Times = Readonly<Record<Everyday | "floor", readonly number[]>>;

const MEASURED = [...EVERYDAY, "floor"] as const;

export const noTimes = (): Record<keyof Times, number[]> => ({
  creation: [],
  edit: [],
  drift: [],
  relist: [],
  deletion: [],
  floor: [],
});

/** Both together. */
export function joined(one: Times, other: Times): Times {
  const times = noTimes();
  for (const each of MEASURED) times[each].push(...one[each], ...other[each]);
  return times;
}

const PATIENCE_MS = 300_000;
const POLL_MS = 25;

export interface Calm {
  /** Goes through everything once, and once more, as long as `more` says. */
  measure(more: (rounds: number) => boolean): Promise<Times>;
  /** Who is still there, and Ready when they were last measured. */
  people(): readonly string[];
}

/** `kubernetes`: the product's way to the API server, cut so that it must list again. */
export function makeCalm(api: ApiServer, db: Pool, quarter: Quarter, kubernetes: Door): Calm {
  const living: string[] = [];
  let number = 0;

  async function until(what: string, holds: () => Promise<boolean>): Promise<number> {
    const began = performance.now();
    while (!(await holds().catch(() => false))) {
      if (performance.now() - began > PATIENCE_MS) throw new Error(`${what} took more than ${PATIENCE_MS / 1000} s`);
      await sleep(POLL_MS);
    }
    return performance.now() - began;
  }

  const ready = async (name: string): Promise<boolean> => {
    const user = await quarter.user(name);
    return user !== undefined && isReady(user);
  };
  const secretPath = async (name: string): Promise<string> =>
    `/api/v1/namespaces/${quarter.namespace}/secrets/${(await quarter.user(name))?.status?.secretName ?? ""}`;

  /** A write and a read at the API server, a look-up in Keycloak, a commit in Postgres: what a new user is made of. */
  async function floor(): Promise<number> {
    const began = performance.now();
    const path = `/api/v1/namespaces/${quarter.namespace}/configmaps`;
    const name = `floor-${(number += 1)}`;
    await api.send("POST", path, { metadata: { name } });
    await quarter.realm.admin.users.find({ username: name, exact: true });
    await db.query("create table if not exists hostile_floor (name text)");
    await db.query("insert into hostile_floor values ($1)", [name]);
    await api.send("GET", `${path}/${name}`);
    await api.send("DELETE", `${path}/${name}`);
    return performance.now() - began;
  }

  async function once(): Promise<Record<keyof Times, number>> {
    const bare = await floor();
    const name = `calm-${(number += 1)}`;
    await quarter.apply(name);
    living.push(name);
    const creation = await until(`${name} becoming Ready`, () => ready(name));

    await quarter.apply(name, { displayName: `Calm ${number}` });
    const edit = await until(`the edit of ${name}`, () => ready(name));

    const path = await secretPath(name);
    const { body } = await api.send("GET", path);
    const uid = (body["metadata"] as { uid?: string } | undefined)?.uid;
    assert((await api.send("DELETE", path)).status === 200, `${path} is not there`);
    const drift = await until(`the Secret of ${name} coming back`, async () => {
      const answer = await api.send("GET", path);
      return answer.status === 200 && (answer.body["metadata"] as { uid?: string } | undefined)?.uid !== uid;
    });
    await until(`${name} being Ready again`, () => ready(name));

    // Whatever happens while the watch is away is found by the list that follows.
    kubernetes.slam(true);
    const late = `calm-${(number += 1)}`;
    await quarter.apply(late);
    living.push(late);
    kubernetes.slam(false);
    const relist = await until(`${late}, found by a list, becoming Ready`, () => ready(late));

    await quarter.remove(name);
    const deletion = await until(`${name} being gone`, async () => (await quarter.user(name)) === undefined);
    living.splice(living.indexOf(name), 1);
    return { creation, edit, drift, relist, deletion, floor: bare };
  }

  return {
    async measure(more) {
      const times = noTimes();
      for (let rounds = 0; more(rounds); rounds += 1) {
        const round = await once();
        for (const each of MEASURED) times[each].push(round[each]);
      }
      return times;
    },
    people: () => living,
  };
}
