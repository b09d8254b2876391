/** Binding in one statement, on a real Postgres: the same answers as step by step, and never two on one place. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { type BindRequest, bind, type Binding, chooseAndBind } from "../../src/store/bindings.ts";
import { moveEmail } from "../../src/store/moves.ts";
import { bindNewUser } from "../../src/store/newUsers.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { type Books, books, fill, read, timeless } from "../support/books.ts";
import { bindRequest } from "../support/builders.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";
import { statementJournal } from "../support/statementJournal.ts";
import { listWaiting } from "../support/store.ts";

let database: TestDatabase;
/** Two replicas. */
let pools: readonly [Pool, Pool];
const poolTo = (url: string): Pool => makePool({ url, max: 12, applicationName: "test" });

beforeAll(async () => {
  database = await freshDatabase();
  pools = [poolTo(database.url), poolTo(database.url)];
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await database.drop();
});
afterEach(async () => {
  await pools[0].query("truncate user_provision_state, waiting");
});

const nobody = (): undefined => undefined;

/** As admission records it. */
async function propose(of: BindRequest, uuid: string = candidateUUID(of.tenantID, of.email)): Promise<void> {
  const { tenantID, email, uid: objectUID, namespace, name } = of;
  const candidate = { uuid, tenantID, email, objectUID, namespace, name, isNew: true, maxUsers: undefined };
  await recordCandidates(pools[0], [candidate]);
}

function boundOf(bindings: readonly Binding[]): string[] {
  return bindings.flatMap((binding) => (binding.kind === "bound" ? [binding.row.uuid] : []));
}

async function living(email?: string): Promise<number> {
  const { rows } = await pools[0].query<{ n: number }>(
    `select count(*)::int as n from user_provision_state
     where confirmed_at is not null and state <> 'deleted' and ($1::text is null or email = $1)`,
    [email ?? null],
  );
  return rows[0]?.n ?? 0;
}

describe("one new person is one round trip", () => {
  test.each([
    ["whom admission has recorded", { isProposed: true }],
    ["whom nobody has recorded", {}],
    ["with a pin", { pin: randomUUID() }],
    ["in a tenant with a quota", { maxUsers: 1, isProposed: true }],
    [
      "who has waited, and was given another uuid by admission",
      { isProposed: true, proposed: randomUUID(), waits: true },
    ],
  ])("%s", async (_who, { isProposed = false, proposed, waits = false, ...given }: Given) => {
    await using journal = await statementJournal(database.url);
    const pool = poolTo(journal.url);
    const ada = bindRequest(given);
    if (isProposed) await propose(ada, proposed);
    if (waits) {
      await pool.query(
        `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
         values ($1, 'tenant-a', 'ada', 'acme', 'ada@example.com', now(), 'QuotaFull')`,
        [ada.uid],
      );
    }
    await pool.query("select 1");
    const before = journal.syncs();
    const binding = await bind(pool, ada, () => {
      throw new Error("it was asked whose it is upstream");
    });
    expect(journal.syncs() - before).toBe(1);
    await pool.end();
    expect(binding).toMatchObject({
      kind: "bound",
      returned: false,
      row: { uuid: given.pin ?? candidateUUID("acme", ada.email), objectUID: ada.uid, confirmed: true, voided: false },
    });
    expect(await listWaiting(pools[0], undefined)).toEqual([]);
    const passedOver = proposed === undefined ? undefined : await loadSaga(pools[0], proposed);
    expect(passedOver?.voided ?? true).toBe(true);
  });

  test("and the replica that comes second learns of it in one", async () => {
    await using journal = await statementJournal(database.url);
    const pool = poolTo(journal.url);
    const ada = bindRequest();
    const [first] = boundOf([await bind(pools[0], ada, nobody)]);
    await pool.query("select 1");
    const before = journal.syncs();
    expect(boundOf([await bind(pool, ada, nobody)])).toEqual([first]);
    expect(journal.syncs() - before).toBe(1);
    await pool.end();
  });
});

/** Whoever is put out of another tenant's uuid gets a random one. */
function unnamed(given: Books, left: unknown): string[] {
  const known = JSON.stringify(given);
  const uuid = /[0-9a-f]{8}-[0-9a-f-]{27}/g;
  return (left as unknown[])
    .map((row) => JSON.stringify(row).replaceAll(uuid, (found) => (known.includes(found) ? found : "another")))
    .toSorted();
}

interface Given extends Partial<BindRequest> {
  readonly isProposed?: boolean;
  readonly proposed?: string;
  readonly waits?: boolean;
}

test.each([
  ["in one statement", bind],
  ["step by step", chooseAndBind],
])("whoever is bound %s, of others' candidates none is read", async (_how, way) => {
  const crowd = Array.from({ length: 300 }, (_, n) => bindRequest({ name: `p${n}` }));
  for (const one of crowd) await propose(one);
  const pool = makePool({ url: database.url, max: 1, applicationName: "test" });
  const entriesRead = async (): Promise<number> => {
    await pool.query("select pg_stat_force_next_flush()");
    const { rows } = await pool.query<{ n: number }>(
      "select sum(idx_tup_read)::int as n from pg_stat_user_indexes where relname = 'user_provision_state'",
    );
    return rows[0]?.n ?? 0;
  };
  const before = await entriesRead();
  for (const one of crowd.slice(0, 40)) await way(pool, one, nobody);
  expect(((await entriesRead()) - before) / 40).toBeLessThan(10);
  await pool.end();
});

describe("in one statement or step by step", () => {
  let other: TestDatabase;
  let stepwise: Pool;
  beforeAll(async () => {
    other = await freshDatabase();
    stepwise = poolTo(other.url);
  });
  afterAll(async () => {
    await stepwise.end();
    await other.drop();
  });

  test("the answer is the same, and so is what it leaves, whatever the books hold", async () => {
    const [atOnce] = pools;
    const kinds = { inserted: 0, confirmed: 0, known: 0, chosen: 0, refused: 0, waiting: 0 };
    const tell = ({ rows }: Books, binding: Binding, wasPlain: boolean): keyof typeof kinds => {
      if (binding.kind !== "bound") return binding.kind;
      if (!wasPlain) return "chosen";
      const before = rows.find(({ sme_user_uuid: uuid }) => uuid === binding.row.uuid);
      if (before === undefined) return "inserted";
      return before["confirmed_at"] === null ? "confirmed" : "known";
    };
    await fc.assert(
      fc.asyncProperty(books, async (given) => {
        await Promise.all([fill(atOnce, given), fill(stepwise, given)]);
        let wasPlain = true;
        const carried = (isFirst: boolean) => (pin: string) => {
          if (isFirst) wasPlain = false;
          return given.carried ? pin : undefined;
        };
        const [one, all] = [
          await bind(
            watched(atOnce, () => (wasPlain = false)),
            given.bindRequest,
            carried(true),
          ),
          await chooseAndBind(stepwise, given.bindRequest, carried(false)),
        ];
        kinds[tell(given, one, wasPlain)] += 1;
        expect(timeless(one)).toEqual(timeless(all));
        expect(unnamed(given, await read(atOnce))).toEqual(unnamed(given, await read(stepwise)));
      }),
      { numRuns: 500 },
    );
    // Every way was gone, or nothing is proven.
    expect(Object.entries(kinds).filter(([, times]) => times < 10)).toEqual([]);
  });

  /** Notes when a transaction is opened. */
  function watched(pool: Pool, opened: () => void): Pool {
    return new Proxy(pool, {
      get(target, key) {
        if (key === "connect") opened();
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
  }
});

describe("at the same moment", () => {
  /** What an older replica beside this one does. */
  const older: typeof bind = chooseAndBind;
  const pairs: readonly (readonly [string, typeof bind, typeof bind])[] = [
    ["two replicas", bind, bind],
    ["a replica and an older one", bind, older],
  ];

  test.each(pairs)("%s never both bind one address", async (_who, first, second) => {
    for (let round = 0; round < 60; round += 1) {
      const email = `p${round}@example.com`;
      // With a pin the two would not even meet at one uuid.
      const pin = round % 2 > 0 ? randomUUID() : undefined;
      const [ada, ida] = [bindRequest({ name: "ada", email }), bindRequest({ name: "ida", email, pin })];
      if (round % 3 > 0) await propose(round % 3 === 1 ? ada : ida);
      const bindings = await Promise.all([first(pools[0], ada, nobody), second(pools[1], ida, nobody)]);
      expect(bindings.map(({ kind }) => kind).toSorted()).toEqual(["bound", "waiting"]);
      expect(await living(email)).toBe(1);
    }
  });

  test.each(pairs)("%s give one object one row", async (_who, first, second) => {
    for (let round = 0; round < 40; round += 1) {
      const ada = bindRequest({ name: `p${round}` });
      if (round % 2 > 0) await propose(ada);
      const [one, two] = boundOf(await Promise.all([first(pools[0], ada, nobody), second(pools[1], ada, nobody)]));
      expect(one).toBeDefined();
      expect(two).toBe(one);
    }
  });

  test.each(pairs)("%s never go beyond the quota", async (_who, first, second) => {
    for (let round = 0; round < 12; round += 1) {
      await pools[0].query("truncate user_provision_state, waiting");
      const crowd = Array.from({ length: 8 }, (_, n) => bindRequest({ name: `p${n}`, maxUsers: 3 }));
      for (const one of crowd.slice(round % 8)) await propose(one);
      const bindings = await Promise.all(
        crowd.map((one, n) => (n % 2 === 0 ? first(pools[0], one, nobody) : second(pools[1], one, nobody))),
      );
      expect(boundOf(bindings)).toHaveLength(await living());
      expect(await living()).toBeLessThanOrEqual(3);
      expect(await living()).toBeGreaterThan(0);
    }
  });

  test("one who moves to an address and one who comes on it: one has it", async () => {
    for (let round = 0; round < 40; round += 1) {
      const email = `wanted${round}@example.com`;
      const binding = await bind(pools[0], bindRequest({ name: `mover${round}` }), nobody);
      if (binding.kind !== "bound") throw new Error("not bound");
      const newUser = bindRequest({ email });
      if (round % 2 > 0) await propose(newUser);
      await Promise.all([moveEmail(pools[0], binding.row, email), bind(pools[1], newUser, nobody)]);
      expect(await living(email)).toBe(1);
    }
  });

  test.each([
    ["the address", { email: "ada@example.com" }, {}],
    ["the last place", { email: "ida@example.com" }, { maxUsers: 1 }],
  ])("who had to wait for its turn sees that %s went meanwhile", async (_what, before, given) => {
    await using lock = await lockOfTenant();
    const asked = bindNewUser(pools[1], bindRequest(given));
    // Its statement has begun, and waits.
    await expect.poll(() => lock.waiting()).toBe(1);
    await lock.client.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, confirmed_at)
       values (gen_random_uuid(), 'acme', $1, gen_random_uuid(), now())`,
      [before.email],
    );
    await lock.client.query("commit");
    expect(await asked).toBeUndefined();
  });

  test("admission that records the object this very moment makes it no one else's", async () => {
    const ada = bindRequest();
    const client = await pools[0].connect();
    await client.query("begin");
    await client.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid) values ($1, 'acme', $2, $3)`,
      [candidateUUID("acme", ada.email), ada.email, ada.uid],
    );
    const asked = bind(pools[1], ada, nobody);
    await sleep(50);
    await client.query("commit");
    client.release();
    expect(boundOf([await asked])).toEqual([candidateUUID("acme", ada.email)]);
    expect(await living()).toBe(1);
  });

  async function lockOfTenant() {
    const client = await pools[0].connect();
    await client.query("begin");
    await client.query("select pg_advisory_xact_lock(hashtextextended('acme', 77))");
    return {
      client,
      async waiting(): Promise<number> {
        const { rows } = await pools[0].query<{ n: number }>(
          `select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
             and database = (select oid from pg_database where datname = current_database())`,
        );
        return rows[0]?.n ?? 0;
      },
      async [Symbol.asyncDispose]() {
        await client.query("rollback");
        client.release();
      },
    };
  }
});
