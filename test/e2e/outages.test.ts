/** What is down while somebody is committed: nothing is lost, nothing is doubled, nobody has to do anything. */
import { afterAll, afterEach, assert, beforeAll, describe, expect, it } from "vitest";

import { FINALIZER } from "../../src/api/meta.ts";
import { type PartName, startPart, stopPart } from "../../stack/index.ts";
import { startProduct } from "../../stack/product/index.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("outage");
});
afterAll(() => platform?.close());

// A test that failed half-way leaves nothing down.
afterEach(async () => {
  await Promise.all([
    platform.product.start("webhook"),
    platform.product.start("reconciler"),
    up("postgres"),
    up("nats"),
  ]);
});

const down = (part: PartName): Promise<void> => stopPart(platform.env.STACK_NAME, part);
const up = (part: PartName): Promise<void> => startPart(platform.env.STACK_NAME, part);

/** One commit with as many people; their names. */
async function commitMany(label: string, count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, index) => `${label}-${index + 1}`);
  await tenant.commit(Object.fromEntries(names.map((name) => [`users/${name}.yaml`, tenant.manifest(name)])));
  return names;
}

/** Everybody is Ready with one of each thing; nobody shares anything; each `created` was told of under one id. */
async function allWell(names: readonly string[]): Promise<readonly Person[]> {
  const people: Person[] = [];
  for (const name of names) people.push(await tenant.person(name));
  for (const field of ["uuid", "keycloakID", "accountID", "secretName", "apiKey"] as const) {
    expect(new Set(people.map((person) => person[field])).size).toBe(names.length);
  }
  for (const { uuid } of people) {
    const created = await soon(async () => {
      const events = (await platform.events(uuid)).filter(({ type }) => type === "sme.user.created");
      assert(events.length > 0, "there is no event yet");
      return events;
    });
    expect(new Set(created.map(({ id }) => id)).size).toBe(1);
  }
  // Marks can be lost; addresses cannot be had twice.
  const users = await tenant.realm.admin.users.find({ max: 500 });
  for (const name of names) expect(users.filter(({ email }) => email === tenant.email(name))).toHaveLength(1);
  return people;
}

describe("a commit", () => {
  it("becomes Ready while the webhook is down: the watch records it, the reconciler adds the finalizer", async () => {
    await platform.product.kill("webhook");
    await tenant.commit({ "users/unseen.yaml": tenant.manifest("unseen") });
    const { metadata } = await tenant.ready("unseen");
    expect(metadata.finalizers).toContain(FINALIZER);
    await allWell(["unseen"]);
  });

  it("that comes while Postgres is down is admitted, and becomes Ready when it is back", async () => {
    await down("postgres");
    await tenant.commit({ "users/patient.yaml": tenant.manifest("patient") });
    const before = await soon(async () => {
      const user = await tenant.user("patient");
      assert(user !== undefined, "Flux has not applied it yet");
      return user;
    });
    expect(before.status?.conditions).toBeUndefined();
    await up("postgres");
    expect((await tenant.ready("patient")).metadata.uid).toBe(before.metadata.uid);
    await allWell(["patient"]);
  });

  it("becomes Ready while NATS is down, and its event is delivered after", async () => {
    await down("nats");
    await tenant.commit({ "users/quiet.yaml": tenant.manifest("quiet") });
    const { uuid } = await tenant.person("quiet");
    await up("nats");
    const events = await soon(async () => {
      const all = await platform.events(uuid);
      assert(all.length > 0);
      return all;
    });
    expect(events).toMatchObject([{ type: "sme.user.created", data: { email: tenant.email("quiet") } }]);
  });
});

describe("many people in one commit", () => {
  it("each have one Keycloak user and one key under two webhook and reconciler pairs", async () => {
    const second = await startProduct(platform.env, { id: "second" });
    try {
      expect(await allWell(await commitMany("pair", 20))).toHaveLength(20);
    } finally {
      await second.stop();
    }
  });

  it("continue where they were when the reconciler is killed in their middle, and nobody is doubled", async () => {
    const { rows } = await platform.db.query<{ seq: string }>("select coalesce(max(seq), 0) as seq from audit");
    const slow = await platform.gateway.fault({ match: { method: "POST" }, action: { latencyMs: 3_000 } });
    const names = await commitMany("cut", 10);
    // Some have an account by now, some are on their way.
    await soon(async () => {
      const made = await platform.db.query("select 1 from audit where seq > $1 and step = 'newapi'", [rows[0]?.seq]);
      assert((made.rowCount ?? 0) > 0);
    });
    await platform.product.kill("reconciler");
    await platform.gateway.heal(slow);
    const left = await Promise.all(names.map((name) => tenant.user(name)));
    // The last two have not even begun: of ten, eight are worked on at once.
    expect(left.every((user) => user?.status?.state === "done")).toBe(false);
    await platform.product.start("reconciler");
    await allWell(names);
  });
});
