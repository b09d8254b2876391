/** What must hold in the end, whatever happened before: asked of the real upstreams, not of the one under test. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { patience } from "../../stack/patience.ts";
import type { Person } from "../support/tenant.ts";
import type { AccountSeen, Sandbox } from "./sandbox.ts";

export interface Expected {
  /** Default true. */
  readonly enabled?: boolean;
  /** People in this tenant. Default 1. */
  readonly people?: number;
  /** Who it was before, where it must be the same person. */
  readonly same?: Person;
  /** The key of before is dead, and there is another. */
  readonly rotated?: boolean;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** One user, one account, one live key, one Secret with it, one `created`, a true status; and nothing is left to do. */
export async function isWhole(sandbox: Sandbox, name: string, expected: Expected = {}): Promise<Person> {
  const { enabled = true, people = 1, same } = expected;
  const user = await sandbox.user(name);
  assert(user !== undefined, `${name} is not in the cluster`);
  const ready = user.status?.conditions?.find(({ type }) => type === "Ready");
  assert.equal(user.status?.observedGeneration, user.metadata.generation, "the status is about an older generation");
  assert.equal(ready?.status, "True", `${name} says ${ready?.reason}: ${ready?.message}`);
  const uuid = user.status?.userUUID ?? "";
  await isAtRest(sandbox, uuid, "done");

  const everybody = await sandbox.realm.admin.users.find({ max: 500, briefRepresentation: false });
  const mine = everybody.filter(({ attributes }) => attributes?.["sme_user_uuid"]?.[0] === uuid);
  assert.equal(mine.length, 1, `Keycloak has ${mine.length} users of this person`);
  assert.equal(everybody.length, people, `Keycloak has ${everybody.length} users instead of ${people}`);
  assert.equal(mine[0]?.email, user.spec.email);
  assert.equal(mine[0]?.enabled, enabled);
  assert.deepEqual(mine[0]?.attributes?.["sme_tenant_id"], [sandbox.id]);
  assert.equal(mine[0]?.id, user.status?.keycloak?.userID, "the status names another Keycloak user");

  const account = await accountOf(sandbox, uuid, people);
  assert.equal(account.keySHA256.length, 1, `${account.keySHA256.length} keys are alive`);
  assert.equal(account.disabled, !enabled);
  assert.equal(account.accountID, user.status?.newapi?.userID, "the status names another account");

  const secrets = await sandbox.secrets();
  assert.equal(secrets.length, people, `there are ${secrets.length} Secrets instead of ${people}`);
  const secret = secrets.find((each) => each.name === user.status?.secretName);
  const apiKey = secret?.data["api-key"] ?? "";
  assert.deepEqual(account.keySHA256, [sha256(apiKey)], "the key in the Secret is not the account's");
  assert.equal(await sandbox.opens(apiKey), enabled ? 200 : 403);

  toldOnce(sandbox, uuid, "sme.user.created");
  const person = {
    uuid,
    keycloakID: mine[0]?.id ?? "",
    accountID: account.accountID,
    secretName: secret?.name ?? "",
    apiKey,
  };
  if (same !== undefined) {
    const { apiKey: _a, secretName: _b, ...before } = same;
    const { apiKey: _c, secretName: _d, ...now } = person;
    assert.deepEqual(now, before, "it is not the same person");
    assert.equal(apiKey !== same.apiKey, expected.rotated === true, "the key is another, or should be");
    if (expected.rotated === true) assert.equal(await sandbox.opens(same.apiKey), 401, "the key of before still opens");
  }
  return person;
}

/** Nothing is left but a locked account, and no key works. */
export async function isGone(sandbox: Sandbox, name: string, before: Person, people = 0): Promise<void> {
  await isUndone(sandbox, name, before, people);
  const account = await accountOf(sandbox, before.uuid, people + 1);
  assert(account.disabled, "the gateway's account is not disabled");
}

/** The same where the Tenant wants accounts deleted: not even that is left, nor a token without an owner. */
export async function isRemoved(sandbox: Sandbox, name: string, before: Person): Promise<void> {
  await isUndone(sandbox, name, before, 0);
  assert.deepEqual(await sandbox.accounts(), []);
  assert.equal(await sandbox.opens(before.apiKey), 401, "the key was left behind");
}

async function isUndone(sandbox: Sandbox, name: string, before: Person, people: number): Promise<void> {
  assert.equal(await sandbox.user(name), undefined, "the object is still there");
  await isAtRest(sandbox, before.uuid, "deleted");
  const everybody = await sandbox.realm.admin.users.find({ max: 500 });
  assert.equal(everybody.length, people, `Keycloak still has ${everybody.length} users`);
  assert.notEqual(await sandbox.opens(before.apiKey), 200, "the key still opens");
  assert.equal((await sandbox.secrets()).length, people, "there is a Secret left");
  toldOnce(sandbox, before.uuid, "sme.user.created");
  toldOnce(sandbox, before.uuid, "sme.user.deleted");
}

/** The person's one account; `people`: of all that the gateway should have, marked or not. */
async function accountOf(sandbox: Sandbox, uuid: string, people: number): Promise<AccountSeen> {
  const accounts = await sandbox.accounts();
  assert.equal(accounts.length, people, `the gateway has ${accounts.length} accounts instead of ${people}`);
  const mine = accounts.filter((each) => each.uuid === uuid);
  const [account] = mine;
  assert(account !== undefined && mine.length === 1, `the gateway has ${mine.length} accounts of this person`);
  return account;
}

/** One event id of this type, at least one message. */
export function toldOnce(sandbox: Sandbox, uuid: string, type: UserEvent["type"]): void {
  const ids = new Set(
    sandbox.environment
      .events(uuid)
      .filter((event) => event.type === type)
      .map(({ id }) => id),
  );
  assert.equal(ids.size, 1, `there are ${ids.size} events ${type}`);
}

/** The row is where it should be, with nothing due, nothing under way and nothing unsent. */
export async function isAtRest(sandbox: Sandbox, uuid: string, state: string): Promise<void> {
  const { rows } = await sandbox.db.query<{ state: string; busy: boolean }>(
    `select state, (due_at is not null and deleting is null) or lease_owner is not null or run is not null
            or rotation is not null or blocked_on is not null as busy
       from user_provision_state where sme_user_uuid = $1`,
    [uuid],
  );
  assert.deepEqual(rows, [{ state, busy: false }]);
  const left = await sandbox.db.query("select 1 from outbox where sent_at is null union all select 1 from waiting");
  assert.equal(left.rowCount, 0, "an event is unsent, or somebody waits");
}

/** On a machine with other work, everything may take so many times longer: slow is not wrong. */
const MOST_TIMES = 3;

/**
 * Asks again until the question does not throw, and then once more: what holds must continue to hold. `quietMs`: within how
 * long on a quiet machine.
 */
export async function inTheEnd<T>(question: () => Promise<T>, quietMs: number): Promise<T> {
  const within = patience(quietMs, MOST_TIMES);
  const began = Date.now();
  for (let withinMs = within(); ; withinMs = Math.max(withinMs, within())) {
    try {
      await question();
      await new Promise((resolve) => setTimeout(resolve, 250));
      return await question();
    } catch (error) {
      if (Date.now() - began > withinMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  }
}
