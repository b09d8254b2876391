/** Everything that is there of one tenant, counted against what its manifests say. Pure: what was read comes in, what is wrong goes out. */
import { createHash } from "node:crypto";
import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";

export interface KeycloakUserSeen {
  readonly id: string;
  readonly email: string;
  readonly enabled: boolean;
  readonly tenantMark: string | undefined;
  readonly uuidMark: string | undefined;
  /** Full paths, of the groups that were asked about. */
  readonly groups: readonly string[];
}

/** An account at the gateway, of either dialect. */
export interface AccountSeen {
  readonly id: string;
  readonly uuid: string;
  readonly disabled: boolean;
  /** SHA-256 of each key that was not replaced. */
  readonly keys: readonly string[];
}

export interface SecretSeen {
  readonly name: string;
  readonly apiKey: string;
}

export interface RowSeen {
  readonly uuid: string;
  readonly objectUID: string | null;
  readonly state: string;
  /** No account was ever recorded for it. */
  readonly madeNothing: boolean;
  /** Something is due, under way or waited for. */
  readonly busy: boolean;
}

export interface Inventory {
  readonly tenant: string;
  readonly objects: readonly LiveTenantUser[];
  readonly keycloakUsers: readonly KeycloakUserSeen[];
  readonly accounts: readonly AccountSeen[];
  readonly secrets: readonly SecretSeen[];
  /** Confirmed ones. */
  readonly rows: readonly RowSeen[];
  readonly waiting: number;
  readonly unsent: number;
  readonly events: readonly UserEvent[];
  /** What the gateway answers to each key that was ever seen in a Secret. */
  readonly opens: ReadonlyMap<string, number>;
}

export interface ExpectedPerson {
  readonly email: string;
  readonly enabled: boolean;
  /** Beyond the default group; undefined: not managed. */
  readonly groups: readonly string[] | undefined;
  readonly secretName: string | undefined;
}

const DEFAULT_GROUP = "/sme-users";

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** One sentence for each invariant that is broken; empty: all hold. `expected`: who shall be there, by name. */
export function broken(inventory: Inventory, expected: ReadonlyMap<string, ExpectedPerson>): string[] {
  const { objects, keycloakUsers, accounts, secrets, rows, opens } = inventory;
  const wrong: string[] = [];
  const uuids = new Set<string>();
  const keys = new Set<string>();

  for (const object of objects) {
    const { name } = object.metadata;
    const want = expected.get(name);
    if (want === undefined) {
      wrong.push(`${name} is still in the cluster`);
      continue;
    }
    const say = (what: string): void => void wrong.push(`${name}: ${what}`);
    const uuid = object.status?.userUUID ?? "";
    if (uuids.has(uuid)) say(`shares uuid ${uuid} with somebody`);
    uuids.add(uuid);
    for (const what of statusWrong(object)) say(what);

    const row = rows.filter(({ objectUID }) => objectUID === object.metadata.uid);
    if (row.length !== 1) say(`has ${row.length} rows`);
    if (row[0] !== undefined && (row[0].state !== "done" || row[0].busy || row[0].uuid !== uuid)) {
      say(`its row is ${row[0].state}${row[0].busy ? " and not at rest" : ""}, uuid ${row[0].uuid}`);
    }

    const mine = keycloakUsers.filter((user) => user.uuidMark === uuid);
    if (mine.length !== 1) say(`has ${mine.length} Keycloak users`);
    for (const user of mine) {
      if (user.email !== want.email) say(`its Keycloak user has email ${user.email} instead of ${want.email}`);
      if (user.enabled !== want.enabled) say(`its Keycloak user is ${user.enabled ? "enabled" : "disabled"}`);
      if (user.tenantMark !== inventory.tenant) say(`its Keycloak user bears the tenant mark ${user.tenantMark}`);
      if (user.id !== object.status?.keycloak?.userID) say("its status names another Keycloak user");
      const groups = [DEFAULT_GROUP, ...(want.groups ?? user.groups.filter((group) => group !== DEFAULT_GROUP))];
      if (user.groups.toSorted().join() !== groups.toSorted().join()) say(`is in the groups ${user.groups.join()}`);
      const told = new Set(createdEvents(inventory, user.id));
      if (told.size !== 1) say(`there are ${told.size} ids of sme.user.created for its Keycloak user`);
    }

    const held = accounts.filter((account) => account.uuid === uuid);
    const secret = secrets.find((each) => each.name === object.status?.secretName);
    if (secret === undefined) say("has no Secret");
    else keys.add(secret.apiKey);
    if (want.secretName !== undefined && secret?.name !== want.secretName) say(`its Secret is called ${secret?.name}`);
    if (held.length !== 1) say(`has ${held.length} accounts`);
    for (const account of held) {
      if (account.id !== object.status?.newapi?.userID) say("its status names another account");
      if (account.disabled === want.enabled) say(`its account is ${account.disabled ? "disabled" : "enabled"}`);
      if (account.keys.length !== 1) say(`its account has ${account.keys.length} live keys`);
      if (account.keys[0] !== sha256(secret?.apiKey ?? "")) say("the key in its Secret is not its account's");
    }
    const answer = opens.get(secret?.apiKey ?? "");
    if (answer !== (want.enabled ? 200 : 403)) say(`the gateway answers ${answer} to the key in its Secret`);
  }

  for (const name of expected.keys()) {
    if (!objects.some(({ metadata }) => metadata.name === name)) wrong.push(`${name} is not in the cluster`);
  }
  return [...wrong, ...leftovers(inventory, uuids, keys)];
}

function statusWrong({ metadata, status }: LiveTenantUser): string[] {
  const wrong: string[] = [];
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  if (metadata.deletionTimestamp !== undefined) wrong.push("is being deleted");
  if (status?.observedGeneration !== metadata.generation) wrong.push("its status is about an older generation");
  if (ready?.status !== "True") wrong.push(`is not ready, ${ready?.reason}: ${ready?.message}`);
  if (ready?.observedGeneration !== metadata.generation) wrong.push("its Ready is about an older generation");
  return wrong;
}

/** What is there and belongs to nobody who shall be there. */
function leftovers(inventory: Inventory, uuids: ReadonlySet<string>, keys: ReadonlySet<string>): string[] {
  const { keycloakUsers, accounts, secrets, rows, opens } = inventory;
  const wrong: string[] = [];
  for (const user of keycloakUsers) {
    if (user.uuidMark === undefined || !uuids.has(user.uuidMark))
      wrong.push(`Keycloak has an unmanaged user, ${user.email}`);
  }
  for (const account of accounts) {
    if (!uuids.has(account.uuid) && !account.disabled) wrong.push(`the gateway has an open account of ${account.uuid}`);
  }
  const ofOne = Map.groupBy(accounts, ({ uuid }) => uuid);
  for (const [uuid, all] of ofOne) if (all.length > 1) wrong.push(`the gateway has ${all.length} accounts of ${uuid}`);
  if (secrets.length !== keys.size) wrong.push(`there are ${secrets.length} Secrets for ${keys.size} people`);
  for (const [key, answer] of opens) {
    if (answer === 200 && !keys.has(key))
      wrong.push(`a key opens that is in no Secret any more (${sha256(key).slice(0, 8)})`);
  }
  for (const row of rows) {
    if (uuids.has(row.uuid)) continue;
    // With nobody alive at the object's birth nor at its death, no finalizer held it and nobody saw it go: an orphan.
    const isEnded = row.state === "deleted" || (row.state === "orphaned" && row.madeNothing);
    if (!isEnded || row.busy) wrong.push(`the row of ${row.uuid}, who is gone, is ${row.state}`);
  }
  if (inventory.waiting > 0) wrong.push(`${inventory.waiting} wait for a row`);
  if (inventory.unsent > 0) wrong.push(`${inventory.unsent} events are unsent`);
  const byUser = Map.groupBy(inventory.events, (event) => `${event.data.sme_user_uuid}/${event.data.kc_user_id}`);
  for (const [who, events] of byUser) {
    const ids = new Set(events.filter(({ type }) => type === "sme.user.created").map(({ id }) => id));
    if (ids.size > 1) wrong.push(`there are ${ids.size} ids of sme.user.created for ${who}`);
  }
  return wrong;
}

function createdEvents({ events }: Inventory, keycloakID: string): string[] {
  return events
    .filter((event) => event.type === "sme.user.created" && event.data.kc_user_id === keycloakID)
    .map(({ id }) => id);
}

/** How many things are there beyond one of each for each person. */
export function doubled({ objects, keycloakUsers, accounts, secrets }: Inventory): number {
  const beyondOne = (ids: readonly (string | undefined)[]): number => ids.length - new Set(ids).size;
  return (
    beyondOne(keycloakUsers.map(({ uuidMark }) => uuidMark)) +
    beyondOne(accounts.map(({ uuid }) => uuid)) +
    accounts.reduce((sum, { keys }) => sum + Math.max(0, keys.length - 1), 0) +
    Math.max(0, secrets.length - objects.length)
  );
}

/** How many people wait for somebody to act. */
export function stalled({ objects }: Inventory): number {
  return objects.filter(({ status }) =>
    status?.conditions?.some(({ type, status: said }) => type === "Stalled" && said === "True"),
  ).length;
}
