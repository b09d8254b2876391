import { expect, it } from "vitest";

import { makePool } from "../../../src/store/pool.ts";
import { markSent, withOutbox } from "../../../src/store/outbox.ts";
import { inTransaction } from "../../../src/store/transaction.ts";
import { makeInterceptors } from "../../crash/interceptors.ts";
import { freshDatabase } from "../../support/postgres.ts";

it("a statement on a connection of its own passes its points, one in a transaction at the commit", async () => {
  const database = await freshDatabase();
  const real = makePool({ url: database.url, max: 2, applicationName: "test", onIdleError: () => {} });
  const passed: string[] = [];
  const points = {
    around: async <T>(happening: string, act: () => Promise<T>): Promise<T> => {
      const result = await act();
      passed.push(happening);
      return result;
    },
    unnamed: (what: string) => void passed.push(`unnamed ${what}`),
  };
  const pool = makeInterceptors(points, { tenant: "one", namespace: "tenant-one" }).pool(real);
  await withOutbox(pool, async (db) => {
    await markSent(db, ["1"]);
    expect(passed.at(-1)).toBe("postgres.sent");
  });
  passed.length = 0;
  await inTransaction(pool, async (client) => {
    await markSent(client, ["1"]);
    expect(passed).toEqual([]);
  });
  expect(passed).toEqual(["postgres.sent"]);
  await real.end();
  await database.drop();
});
