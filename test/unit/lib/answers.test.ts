import { expect, it } from "vitest";
import * as z from "zod";
import * as keycloak from "../../../src/keycloak/representations.ts";
import { listOf, mapOf } from "../../../src/lib/answers.ts";

const many = <T>(count: number, each: T): T[] => Array.from({ length: count }, () => each);
const named = (count: number, each: unknown) => Object.fromEntries(many(count, 0).map((_zero, n) => [`n${n}`, each]));

it("reads what fits", () => {
  expect(listOf(z.number()).parse([1, 2])).toEqual([1, 2]);
  expect(mapOf(z.number()).parse({ a: 1, constructor: 2 })).toEqual({ a: 1, constructor: 2 });
});

it("looks at nothing behind the first entry that does not fit", () => {
  let looks = 0;
  const nothing = z.custom(() => {
    looks += 1;
    return false;
  });
  expect(listOf(nothing).safeParse(many(10_000, 1)).success).toBe(false);
  expect(mapOf(nothing).safeParse(named(2_000, 1)).success).toBe(false);
  expect(looks).toBe(2);
});

it("looks at none of more than any answer has", () => {
  expect(listOf(z.number()).safeParse(many(10_001, 1)).success).toBe(false);
  expect(mapOf(z.number()).safeParse(named(2_001, 1)).success).toBe(false);
});

const schemas = Object.entries(keycloak).flatMap(([name, schema]) =>
  schema instanceof z.ZodType ? [[name, schema] as const] : [],
);

it.each(schemas)("%s finds one thing wrong with nonsense, not a thing for each value", (_name, schema) => {
  const user = { id: "a", username: "b" };
  const nonsense = [
    many(90_000, 1),
    many(30_000, user),
    named(90_000, 1),
    { ...user, attributes: named(90_000, 1), access: named(90_000, 1) },
    { ...user, attributes: { a: many(90_000, 1) } },
    { ...user, attributes: many(30_000, { name: "a", permissions: { edit: [1] } }) },
    [{ ...user, name: "a", path: "/a", subGroups: many(90_000, 1) }],
    { realmMappings: many(90_000, 1), clientMappings: named(30_000, { mappings: [1] }) },
  ];
  for (const each of nonsense) expect(schema.safeParse(each).error?.issues.length ?? 0).toBeLessThan(10);
});
