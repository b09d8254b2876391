/** What only the pure code of the saga may say: no statement invents a state. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const STORE = join(import.meta.dirname, "../../../src/store");

/** Columns that say what a saga is at; when a row is due, and that it is void, statements may write. */
const STATE =
  /\b(state|reached|run|handled|deleting|rotation|recheck|to_reset|adopted|kc_user_id|newapi_user_id|history)\s*=\s/g;
const SET = /\bupdate user_provision_state\b[^`]*?\bset\b([^`]*?)(?:\bwhere\b|\bfrom\b|`|$)/gs;

/** The record of a finished run, which sees what was changed after its claim. */
const FOLLOWING_RUN = /\brun = case when\b/;

/** Measured hot, each with a test that it does what the pure function does (test/contract/store-transitions.test.ts). */
const HOT = ["claims.ts: run", "migrations/0002_binding.sql: handled, run, state"];

test("no statement of the store invents a state but those that were measured", () => {
  const files = readdirSync(STORE, { recursive: true, encoding: "utf8" }).filter((file) => /\.(ts|sql)$/.test(file));
  const found = files.flatMap((file) => {
    const source = readFileSync(join(STORE, file), "utf8");
    const columns = [...source.matchAll(SET)].flatMap(([, set = ""]) =>
      [...set.matchAll(STATE)].map(([, name = ""]) => name),
    );
    if (FOLLOWING_RUN.test(source)) columns.push("run");
    return columns.length === 0 ? [] : [`${file}: ${[...new Set(columns)].toSorted().join(", ")}`];
  });
  expect(found.toSorted()).toEqual(HOT);
});
