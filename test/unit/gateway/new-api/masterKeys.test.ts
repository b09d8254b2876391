import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { parseMasterKeys } from "../../../../src/lib/masterKeys.ts";
import { userID } from "../../../../src/gateway/dialects/new-api/ids.ts";
import { derive } from "../../../../src/gateway/dialects/new-api/masterKeys.ts";

const ONE = `1: ${"a".repeat(32)}`;
const TWO = `2: ${"b".repeat(40)}`;
const URL = "https://gateway.example";
const UUID = "7f1e9a52-6c1f-5f0e-9d3b-2f6f0c1f7a11";

describe("master keys", () => {
  test("are lines of version and key; the highest is the current one", () => {
    const { current, byVersion } = parseMasterKeys(`# made in May\n${TWO}\n\n${ONE}\n`);
    expect([current, [...byVersion.keys()]]).toEqual([2, [2, 1]]);
  });

  test.each(["", "1: short", `1 ${"a".repeat(32)}`, `${ONE}\n${ONE}`, "a".repeat(64)])(
    "%j is refused, unrepeated",
    (text) => {
      const said = refusalOf(text);
      expect(said).toMatch(/line|key|version/);
      expect(text !== "" && said.includes(text)).toBe(false);
    },
  );
});

function refusalOf(text: string): string {
  try {
    parseMasterKeys(text);
    return "";
  } catch (error) {
    return String(error);
  }
}

describe("what is derived", () => {
  const derived = derive(parseMasterKeys(ONE), "acme", URL);

  test("is a name of 20 lower-case characters and a password of 20, the same each time", () => {
    fc.assert(
      fc.property(fc.uuid(), (uuid) => {
        expect(derived.username(uuid, 1, 1)).toMatch(/^[a-z2-7]{20}$/);
        expect(derived.password(uuid, 1)?.reveal()).toMatch(/^[\w-]{20}$/);
        expect(derive(parseMasterKeys(ONE), "acme", URL).username(uuid, 1, 1)).toBe(derived.username(uuid, 1, 1));
      }),
    );
  });

  test("differs by person, tenant, gateway, master key and purpose", () => {
    const two = derive(parseMasterKeys(`${ONE}\n${TWO}`), "acme", URL);
    const names = [
      derived.username(UUID, 1, 1),
      derived.username(UUID, 1, 2),
      derived.username(UUID.replace("7", "8"), 1, 1),
      derive(parseMasterKeys(ONE), "other", URL).username(UUID, 1, 1),
      derive(parseMasterKeys(ONE), "acme", `${URL}/x`).username(UUID, 1, 1),
      two.username(UUID, 2, 1),
    ];
    expect(new Set(names).size).toBe(names.length);
    expect(two.username(UUID, 1, 1)).toBe(names[0]);
  });

  test("is nothing under a master key that is lost", () => {
    expect(derived.password(UUID, 9)).toBeUndefined();
  });
});

test("an id that may be changed is a positive integer, not the root's and not the admin's", () => {
  for (const wrong of [undefined, null, "", 0, -1, 1.5, Number.NaN, 1, "1", 7, "7", "07", "8 ", {}, 2 ** 60]) {
    expect(userID(wrong, 7)).toBeUndefined();
  }
  expect([userID(8, 7), userID("8", 7)]).toEqual([8, 8]);
});
