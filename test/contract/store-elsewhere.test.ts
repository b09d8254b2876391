/** What the sentences of one namespace say of an object in another one of the same tenant: that it is there, not who. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { SagaRow } from "../../src/saga/row.ts";
import { recordCandidates } from "../../src/store/admissions.ts";
import { type BindRequest, bind, type Binding } from "../../src/store/bindings.ts";
import { moveEmail } from "../../src/store/moves.ts";
import type { Pool } from "../../src/store/pool.ts";
import { bindRequest } from "../support/builders.ts";
import { useStore } from "../support/store.ts";

let pool: Pool;
useStore((opened) => (pool = opened), { emptied: "user_provision_state, waiting" });

const ELSEWHERE = "a TenantUser in another namespace of this tenant";
const CEO = { namespace: "tenant-victim", name: "the-ceo", email: "ceo@example.com" };

const bindOne = (given: Partial<BindRequest>): Promise<Binding> => bind(pool, bindRequest(given), () => undefined);

async function bound(given: Partial<BindRequest>): Promise<SagaRow> {
  const binding = await bindOne(given);
  if (binding.kind !== "bound") throw new Error(`not bound: ${JSON.stringify(binding)}`);
  return binding.row;
}

function messageOf(binding: Binding | undefined): string {
  if (binding === undefined || binding.kind === "bound") throw new Error("it does not wait");
  return binding.message;
}

test("a review learns that an address is in use, and the name only in the same namespace", async () => {
  await bound(CEO);
  const held = async (namespace: string) => {
    const [record] = await recordCandidates(pool, [
      {
        uuid: randomUUID(),
        tenantID: bindRequest().tenantID,
        email: CEO.email,
        objectUID: randomUUID(),
        namespace,
        name: "forged",
        isNew: true,
        maxUsers: undefined,
      },
    ]);
    return record?.heldBy;
  };
  expect(await held("tenant-a")).toEqual({ namespace: undefined, name: undefined });
  expect(await held(CEO.namespace)).toEqual({ namespace: CEO.namespace, name: CEO.name });
});

test("who waits for an address does not read who has it", async () => {
  await bound(CEO);
  const waits = messageOf(await bindOne({ namespace: "tenant-a", name: "eve", email: CEO.email }));
  expect(waits).toBe(
    `${CEO.email} belongs to ${ELSEWHERE}; this one takes its place when that one is deleted or changes its email.`,
  );
});

test("nor does who changes an address", async () => {
  await bound(CEO);
  const eve = await bound({ namespace: "tenant-a", name: "eve" });
  expect(messageOf(await moveEmail(pool, eve, CEO.email))).toBe(
    `${CEO.email} belongs to ${ELSEWHERE}; the change follows when that one is deleted or changes its email.`,
  );
});

test("nor do those of a ring, each of which reads the names of its own namespace", async () => {
  const [eve, bob, ceo] = [
    await bound({ namespace: "tenant-a", name: "eve" }),
    await bound({ namespace: "tenant-a", name: "bob" }),
    await bound(CEO),
  ];
  await moveEmail(pool, eve, bob.email);
  await moveEmail(pool, bob, ceo.email);
  const ring = "want each other's emails, in a ring; give one of them a third address first.";
  expect(messageOf(await moveEmail(pool, ceo, eve.email))).toBe(
    `the-ceo and 2 TenantUsers in other namespaces of this tenant ${ring}`,
  );
  expect(messageOf(await moveEmail(pool, eve, bob.email))).toBe(`bob, eve and ${ELSEWHERE} ${ring}`);
});
