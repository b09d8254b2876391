/** Whose turn it is to be compared, on a real Postgres. */
import { expect, test } from "vitest";
import { takeDriftCheck, tenantsAtRest } from "../../src/store/drift.ts";
import type { Pool } from "../../src/store/pool.ts";
import { useStore } from "../support/store.ts";

let pool: Pool;
useStore((opened) => (pool = opened));

test("a tenant rests from its check to the next, which exactly one takes", async () => {
  expect(await tenantsAtRest(pool)).toEqual(new Set());
  // Seen for the first time: its turn comes some time within the interval.
  await takeDriftCheck(pool, "acme", 600_000);
  expect(await tenantsAtRest(pool)).toEqual(new Set(["acme"]));

  await pool.query("update drift_checks set next_at = now() - interval '1 second'");
  expect(await tenantsAtRest(pool)).toEqual(new Set());
  const taken = await Promise.all([1, 2, 3].map(() => takeDriftCheck(pool, "acme", 600_000)));
  expect(taken.filter(Boolean)).toHaveLength(1);
  expect(await tenantsAtRest(pool)).toEqual(new Set(["acme"]));
});
