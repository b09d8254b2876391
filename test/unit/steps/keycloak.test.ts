import { describe, expect, test } from "vitest";
import { TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { candidateUUID } from "../../../src/api/names.ts";
import { MarkedUser } from "../../../src/keycloak/realm.ts";
import { desire } from "../../../src/saga/desired.ts";
import { NOTHING_MANAGED } from "../../../src/saga/row.ts";
import { desiredUser, keycloakStep } from "../../../src/steps/keycloak.ts";
import { CarriesUUID } from "../../../src/steps/step.ts";
import { ADA, deletingRow, doneRow, handled, sagaRow, tenant, tenantUser } from "../../support/builders.ts";
import { learned, makeBench } from "../../support/stepContext.ts";

const invited = tenantUser().withSpec({ invitation: "Email" }).build();

describe("going up", () => {
  test("makes the user with both marks and tells its id", async () => {
    const bench = makeBench();
    const result = await keycloakStep.up(bench.context(), bench.signal);
    expect(result.learned).toMatchObject({
      keycloakUserID: "kc-1",
      adopted: false,
      managed: { groups: ["sme-users"] },
    });
    expect(bench.realm.users.get(ADA)?.wanted).toMatchObject({ uuid: ADA, tenantID: "acme", email: "ada@example.com" });
    expect(bench.wrote).toEqual([{ action: "created", target: "kc-1" }]);
  });

  test("done twice it writes once", async () => {
    const bench = makeBench();
    const row = learned(sagaRow(), (await keycloakStep.up(bench.context(), bench.signal)).learned);
    await keycloakStep.up(bench.context(row), bench.signal);
    await keycloakStep.up(bench.context(row), bench.signal);
    expect(bench.wrote.filter(({ action }) => action === "created")).toHaveLength(1);
    expect(bench.realm.users.size).toBe(1);
  });

  test("an adopted account that is as it should be is no write", async () => {
    const bench = makeBench();
    const row = doneRow({ adopted: true });
    const found = {
      userID: "kc-1",
      created: false,
      adopted: true,
      changed: false,
      managed: row.managed,
      usernameKept: false,
      lockedOut: false,
    };
    const realm = { ...bench.realm, ensureUser: () => Promise.resolve(found) };
    const { learned: fields } = await keycloakStep.up(
      bench.context(row, undefined, { realm: () => realm }),
      bench.signal,
    );
    expect(bench.wrote).toEqual([]);
    expect(fields).toMatchObject({ adopted: true });
  });

  test("a lockout that Keycloak told of is told on, and compared with what was told before", async () => {
    const bench = makeBench();
    const row = doneRow();
    const ensured = await bench.realm.ensureUser(
      desiredUser(row, desire(tenantUser().build(), tenant())),
      undefined,
      { policy: "Never" },
      bench.signal,
    );
    const realm = { ...bench.realm, ensureUser: () => Promise.resolve({ ...ensured, lockedOut: true }) };
    const result = await keycloakStep.up(bench.context(row, undefined, { realm: () => realm }), bench.signal);
    expect(result.lockedOut).toBe(true);
    const told = doneRow({ handled: handled({ lockedOut: true }) });
    expect(desiredUser(told, desire(tenantUser().build(), tenant())).saidLockedOut).toBe(true);
  });

  test("one made in the place of an adopted one that is gone is ours to delete", async () => {
    const bench = makeBench();
    const { learned: fields } = await keycloakStep.up(bench.context(doneRow({ adopted: true })), bench.signal);
    expect(fields).toMatchObject({ adopted: false });
  });

  test("the mail's intent is recorded before it is sent", async () => {
    const bench = makeBench();
    bench.realm.fail("invite", new TransientError({ code: "UpstreamUnavailable", message: "No answer." }));
    await expect(keycloakStep.up(bench.context(sagaRow(), invited), bench.signal)).rejects.toThrow("No answer.");
    expect(bench.notes).toEqual([{ keycloakUserID: "kc-1", invitedKeycloakUserID: "kc-1" }]);
  });

  test("one mail a Keycloak user, also when its answer was lost", async () => {
    const bench = makeBench();
    bench.realm.fail("invite", new TransientError({ code: "UpstreamUnavailable", message: "No answer." }), "after");
    await keycloakStep.up(bench.context(sagaRow(), invited), bench.signal).catch(() => undefined);
    const row = learned(sagaRow(), bench.notes[0] ?? {});
    await keycloakStep.up(bench.context(row, invited), bench.signal);
    expect(bench.realm.mails).toEqual(["kc-1"]);
  });

  test("no mail is sent unless asked for", async () => {
    const bench = makeBench();
    await keycloakStep.up(bench.context(), bench.signal);
    expect(bench.realm.mails).toEqual([]);
    expect(bench.notes).toEqual([]);
  });

  test("names the uuid that the address carries upstream, while the row knows no id", async () => {
    const bench = makeBench();
    const before = sagaRow({ uuid: "0a000000-0000-4000-8000-00000000000a" });
    await keycloakStep.up(bench.context(before), bench.signal);
    const inUse = new WaitingError({ code: "EmailInUse", message: "Somebody has it." });
    bench.realm.fail("ensureUser", inUse);
    await expect(keycloakStep.up(bench.context(), bench.signal)).rejects.toMatchObject({
      uuid: before.uuid,
      refusal: inUse,
    });
    bench.realm.fail("ensureUser", inUse);
    const known = sagaRow({ keycloakUserID: "kc-9" });
    await expect(keycloakStep.up(bench.context(known), bench.signal)).rejects.not.toBeInstanceOf(CarriesUUID);
  });
});

describe("marks on somebody else", () => {
  const unmanagedUser = (wrongAddress: boolean): MarkedUser =>
    new MarkedUser({ code: "UserClaimed", message: "Somebody else carries them." }, wrongAddress);

  test("with another address: the new user continues under the next uuid of this address", async () => {
    const bench = makeBench();
    for (const [n, next] of [
      [undefined, 2],
      [2, 3],
    ] as const) {
      const row = sagaRow({ uuid: candidateUUID("acme", "ada@example.com", n) });
      const refusal = unmanagedUser(true);
      bench.realm.fail("ensureUser", refusal);
      await expect(keycloakStep.up(bench.context(row), bench.signal)).rejects.toMatchObject({
        uuid: candidateUUID("acme", "ada@example.com", next),
        refusal,
      });
    }
  });

  test("with this very address unproven, or under a uuid that was pinned: a person must look", async () => {
    const bench = makeBench();
    const pinned = sagaRow({ uuid: "0a000000-0000-4000-8000-00000000000a" });
    for (const [row, error] of [
      [sagaRow(), unmanagedUser(false)],
      [pinned, unmanagedUser(true)],
    ] as const) {
      bench.realm.fail("ensureUser", error);
      await expect(keycloakStep.up(bench.context(row), bench.signal)).rejects.toBe(error);
    }
  });
});

describe("accounts that another person had before", () => {
  test("are reset, and then are the person's own; the key is not yet", async () => {
    const bench = makeBench();
    const row = doneRow({ toReset: ["keycloak", "newapi"] });
    const { learned: fields } = await keycloakStep.up(bench.context(row), bench.signal);
    expect(bench.realm.users.get(ADA)?.wanted).toMatchObject({ reset: true });
    expect(fields).toMatchObject({ toReset: ["newapi"] });
    await keycloakStep.up(bench.context(learned(row, fields)), bench.signal);
    expect(bench.realm.users.get(ADA)?.wanted.reset).toBeUndefined();
  });

  test("one found under another address: the key that goes with it is replaced too", async () => {
    const bench = makeBench();
    const found = { userID: "kc-1", created: false, adopted: false, changed: true, managed: NOTHING_MANAGED };
    const realm = {
      ...bench.realm,
      ensureUser: () => Promise.resolve({ ...found, succeeded: true, usernameKept: false, lockedOut: false }),
    };
    const { learned: fields } = await keycloakStep.up(
      bench.context(sagaRow(), undefined, { realm: () => realm }),
      bench.signal,
    );
    expect(fields).toMatchObject({ toReset: ["newapi"] });
  });
});

test("one who succeeds another is recorded before the account changes, and reset as a whole after a cut", async () => {
  const bench = makeBench();
  const cut = new TransientError({ code: "UpstreamUnavailable", message: "cut" });
  const ensureUser: typeof bench.realm.ensureUser = async (_user, _hint, how) => {
    await how.succeeding?.();
    throw cut;
  };
  const realm = { ...bench.realm, ensureUser };
  await expect(keycloakStep.up(bench.context(sagaRow(), undefined, { realm: () => realm }), bench.signal)).rejects.toBe(
    cut,
  );
  expect(bench.notes).toEqual([{ toReset: ["keycloak", "newapi"] }]);
  const { learned: fields } = await keycloakStep.up(
    bench.context(sagaRow({ toReset: ["keycloak", "newapi"] })),
    bench.signal,
  );
  expect(fields).toMatchObject({ toReset: ["newapi"] });
});

describe("going down", () => {
  test("deletes the user by its id", async () => {
    const bench = makeBench();
    await keycloakStep.up(bench.context(), bench.signal);
    await keycloakStep.down(bench.context(deletingRow()), "remove", bench.signal);
    expect(bench.realm.users.size).toBe(0);
    expect(bench.wrote.at(-1)).toEqual({ action: "deleted", target: "kc-1" });
  });

  test("one whose id was never recorded is found by its marks", async () => {
    const bench = makeBench();
    await keycloakStep.up(bench.context(), bench.signal);
    await keycloakStep.down(bench.context(deletingRow({ keycloakUserID: undefined })), "remove", bench.signal);
    expect(bench.realm.users.size).toBe(0);
  });

  test("undone once more, it finds one that a late worker made, whatever id is recorded", async () => {
    const bench = makeBench();
    await keycloakStep.up(bench.context(), bench.signal);
    const { deleting } = deletingRow();
    if (deleting === undefined) throw new Error("the row is not being deleted");
    const row = deletingRow({ keycloakUserID: "kc-of-before", deleting: { ...deleting, again: true } });
    await keycloakStep.down(bench.context(row), "remove", bench.signal);
    expect(bench.realm.users.size).toBe(0);
  });

  test("what is not there is undone", async () => {
    const bench = makeBench();
    expect(
      await keycloakStep.down(bench.context(deletingRow({ keycloakUserID: undefined })), "remove", bench.signal),
    ).toEqual({});
    expect(bench.wrote).toEqual([]);
  });

  test("with grace the user is only disabled", async () => {
    const bench = makeBench();
    await keycloakStep.up(bench.context(), bench.signal);
    await keycloakStep.down(bench.context(deletingRow()), "lock", bench.signal);
    expect(bench.realm.users.get(ADA)?.enabled).toBe(false);
  });

  test("an adopted account is neither disabled nor deleted: only what is ours goes", async () => {
    const bench = makeBench();
    const row = deletingRow({ adopted: true });
    await keycloakStep.down(bench.context(row), "lock", bench.signal);
    expect(bench.realm.calls).toEqual([]);
    await keycloakStep.down(bench.context(row), "remove", bench.signal);
    expect(bench.realm.calls).toEqual(["releaseUser"]);
  });
});
