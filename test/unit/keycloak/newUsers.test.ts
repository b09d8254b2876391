import { describe, expect, test } from "vitest";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../../../src/api/meta.ts";
import { makeNewUsers } from "../../../src/keycloak/newUsers.ts";
import type { Ask } from "../../../src/keycloak/session.ts";

const TENANT = "acme";

/** A realm that answers the one question, and says how often. */
function setup(given: { users?: readonly string[]; fails?: boolean } = {}) {
  const world = { now: 0, users: [...(given.users ?? [])], fails: given.fails ?? false, lists: 0 };
  const newUsers = makeNewUsers({ clock: { now: () => world.now } });
  const ask: Ask = async (_doing, answer) => {
    world.lists += 1;
    const users = world.users.map((uuid, n) => ({
      id: `u${n}`,
      username: uuid,
      enabled: true,
      attributes: { [MARK_TENANT_ID]: [TENANT], [MARK_USER_UUID]: [uuid] },
    }));
    await Promise.resolve();
    if (world.fails) throw new Error("away");
    return answer.parse(users);
  };
  const come = (uuid: string, session = 1) => newUsers.areNowhere(ask, { tenantID: TENANT, uuid, session });
  /** As many as it takes for the list to be worth its while. */
  const rush = async (session = 1) => {
    for (let n = 0; n < 25; n += 1) expect(await come(`early-${n}`, session)).toBe(false);
  };
  return { world, newUsers, come, rush };
}

describe("new users", () => {
  test("are searched for one by one while they are few", async () => {
    const { world, rush } = setup();
    await rush();
    expect(world.lists).toBe(0);
  });

  test("in a rush are held against one list", async () => {
    const { world, come, rush } = setup({ users: ["old"] });
    await rush();
    expect(await come("new")).toBe(true);
    expect(await come("newer")).toBe(true);
    expect(await come("old")).toBe(false);
    expect(world.lists).toBe(1);
  });

  test("that come while the list is under way are searched for", async () => {
    const { world, come, rush } = setup();
    await rush();
    expect(await Promise.all([come("a"), come("b")])).toEqual([true, false]);
    expect(world.lists).toBe(1);
  });

  test.each([
    ["under another worker session: the database may be another", async () => 2],
    [
      "once Keycloak was away: it may be as it was earlier",
      async ({ newUsers }: ReturnType<typeof setup>) => {
        newUsers.forget();
        return 1;
      },
    ],
    [
      "after ten minutes",
      async ({ world }: ReturnType<typeof setup>) => {
        world.now += 10 * 60_000 + 1;
        return 1;
      },
    ],
  ])("are searched for again %s", async (_when, change) => {
    const made = setup();
    await made.rush();
    expect(await made.come("new")).toBe(true);
    const session = await change(made);
    expect(await made.come("newer", session)).toBe(false);
  });

  test("are not called nowhere by a list that Keycloak's absence overtook", async () => {
    const { newUsers, come, rush } = setup();
    await rush();
    const coming = come("new");
    newUsers.forget();
    expect(await coming).toBe(false);
  });

  test("are searched for in a realm that is too large to list, without trying again", async () => {
    const { world, come, rush } = setup({ users: Array.from({ length: 2_001 }, (_, n) => `old-${n}`) });
    await rush();
    expect(await come("new")).toBe(false);
    expect(await come("newer")).toBe(false);
    expect(world.lists).toBe(1);
  });

  test("may be listed again after a list that failed", async () => {
    const { world, come, rush } = setup({ fails: true });
    await rush();
    await expect(come("new")).rejects.toThrow("away");
    world.fails = false;
    expect(await come("new")).toBe(true);
  });
});
