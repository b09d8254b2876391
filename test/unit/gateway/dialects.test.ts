/** A dialect is one folder and one line: everybody else asks the table. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

import { DIALECT_NAMES } from "../../../src/api/tenant.ts";
import type { GatewayDialect } from "../../../src/gateway/dialect.ts";
import { DIALECTS } from "../../../src/gateway/dialects/index.ts";
import { type GatewaysDeps, makeGateways } from "../../../src/gateway/gateways.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { parseMasterKeys } from "../../../src/lib/masterKeys.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";
import { TEST_DIALECTS } from "../../support/dialects/index.ts";

const SRC = join(import.meta.dirname, "../../../src");
const deps: GatewaysDeps = {
  clock: systemClock,
  masterKeys: undefined,
  limitRaised: () => undefined,
  passwordReset: () => undefined,
};
const masterKeys = parseMasterKeys(`1: ${"k".repeat(32)}`);
const settingsOf = <Name extends string>(dialect: Name, tenantID = "acme") => ({
  dialect,
  tenantID,
  url: "https://gateway.example.com",
  credential: { token: new Sensitive("t"), "user-id": new Sensitive("2"), password: new Sensitive("p") },
});

describe("the table of dialects", () => {
  test("makes a gateway of each, with what its entry says it can do", () => {
    const make = makeGateways(TEST_DIALECTS, { ...deps, masterKeys });
    for (const name of [...DIALECT_NAMES, "plain"] as const) {
      expect(make(settingsOf(name)).capabilities).toEqual(TEST_DIALECTS[name].capabilities);
    }
  });

  test("asks for master keys where a dialect needs them, and nowhere else", () => {
    const make = makeGateways(TEST_DIALECTS, deps);
    const refused = Object.keys(TEST_DIALECTS).filter((name) => {
      try {
        return make(settingsOf(name as keyof typeof TEST_DIALECTS)) === undefined;
      } catch (error) {
        return String(error).includes(`Dialect ${name} needs master keys: give the reconciler MASTER_KEYS_FILE`);
      }
    });
    const needing = Object.entries(TEST_DIALECTS).filter(([, { needsMasterKeys }]) => needsMasterKeys);
    expect(refused).toEqual(needing.map(([name]) => name));
  });

  test("opens a dialect once, so that its tenants share what they know of their gateway", () => {
    let opened = 0;
    const shared: GatewayDialect = {
      ...TEST_DIALECTS.plain,
      needsMasterKeys: false,
      open(given) {
        opened += 1;
        return TEST_DIALECTS.plain.open({ ...given, masterKeys });
      },
    };
    const make = makeGateways({ shared }, deps);
    expect(make(settingsOf("shared", "acme"))).not.toBe(make(settingsOf("shared", "other")));
    expect(opened).toBe(1);
  });

  test("is the only place that knows a dialect by its name", () => {
    const naming = readdirSync(SRC, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !file.startsWith("gateway/dialects/"))
      .filter((file) => /dialect\s*[!=]==|admin-v1|new-api/.test(readFileSync(join(SRC, file), "utf8")));
    expect(naming).toEqual(["api/tenant.ts"]);
  });

  test("stands in the docs, with the entries of each credential", () => {
    const pages = ["newapi.md", "platform-guide.md", "upstreams.md", "upstreams.md"];
    const docs = join(SRC, "../docs");
    const text = pages
      .filter((page) => readdirSync(docs).includes(page))
      .map((page) => readFileSync(join(docs, page), "utf8"))
      .join("\n");
    for (const [name, { credentialKeys }] of Object.entries(DIALECTS)) {
      for (const word of [name, ...credentialKeys]) expect(text).toContain(word);
    }
  });
});
