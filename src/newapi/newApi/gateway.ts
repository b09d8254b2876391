import { REASON } from "../../api/reasons.ts";
import type { Clock } from "../../lib/clock.ts";
import { ConflictError, TerminalError, TransientError } from "../../lib/errors.ts";
import type { MasterKeys } from "../../lib/masterKeys.ts";
import type { Sensitive } from "../../lib/sensitive.ts";
import { tryKey } from "../models.ts";
import type { Account, AccountRequest, Gateway, Person } from "../gateway.ts";
import { corrections, displayName } from "./align.ts";
import { checkGateway } from "./check.ts";
import { makeConnection } from "./connection.ts";
import { drifted } from "./drift.ts";
import { demandUserID, type UserID, userID } from "./ids.ts";
import { type KeyMode, makeKeys } from "./keys.ts";
import type { Limits } from "./limits.ts";
import { derive } from "./masterKeys.ts";
import { bears, isUnmarked, withMark } from "./marks.ts";
import { makeUsers, type User } from "./users.ts";

export interface NewApiOptions {
  /** The gateway's address; a path prefix and a trailing slash are welcome. */
  readonly url: string;
  /** A personal access token of an admin of the gateway. */
  readonly token: Sensitive;
  /** The numeric id of that admin. */
  readonly userID: string;
  readonly tenantID: string;
  readonly masterKeys: MasterKeys;
  readonly limits: Limits;
  readonly clock: Clock;
  /** A person's password at the gateway had to be set anew, and why. */
  readonly passwordReset: (uuid: string, why: "master-key" | "refused") => void;
}

/** Names that are taken for ever by accounts that somebody deleted; after so many a person must look. */
const NAMES = 4;

/**
 * The admin API of the open-source program new-api, as it is: accounts by a derived name and a mark in the remark, keys
 * only in the name of the person. Throws a TerminalError for settings that can never work.
 */
export function makeNewApiGateway(options: NewApiOptions): Gateway {
  const { clock, limits, tenantID } = options;
  const base = options.url.replace(/\/+$/, "");
  const adminID = Number(options.userID);
  if (!Number.isSafeInteger(adminID) || adminID <= 0) {
    throw new TerminalError({
      code: REASON.NewAPICredentialsMissing,
      neighbour: "newapi",
      message: "user-id in the gateway's credential Secret must be the numeric id of the admin whose token it is.",
    });
  }
  const connection = makeConnection({ base, admin: { token: options.token, id: adminID }, limits, clock });
  const users = makeUsers(connection);
  const derived = derive(options.masterKeys, tenantID, base);
  const keys = makeKeys({ connection, users, derived, limits, clock, tenantID, passwordReset: options.passwordReset });
  limits.join(tenantID);

  /** The living account of this person, with what is known of its password; `freeName`: under which one can be made. */
  interface Located {
    readonly user: User | undefined;
    readonly freeName: string;
    /** The master key that its name was derived from: the likeliest for its password too. */
    readonly masterKey: number | undefined;
  }

  async function locate(person: Person, signal: AbortSignal): Promise<Located> {
    const recorded = userID(person.userID, adminID);
    if (recorded !== undefined) {
      const user = await users.get(recorded, signal);
      // A gateway may give an id again: what the record says is a hint.
      if (user !== undefined && bears(user.remark, person)) return { user, freeName: "", masterKey: person.masterKey };
    }
    let freeName: string | undefined;
    for (const version of derived.versions) {
      for (let n = 1; n <= NAMES; n += 1) {
        const name = derived.username(person.uuid, version, n);
        const user = await users.byName(name, signal);
        if (user !== undefined && !user.deleted) return { user, freeName: "", masterKey: version };
        if (user === undefined) {
          if (version === derived.current) freeName = name;
          break;
        }
      }
    }
    // Made under a master key that is lost, and the record is lost too: its mark is all that tells.
    const marked = (await users.search(displayName(person), signal)).find(
      (user) => !user.deleted && bears(user.remark, person),
    );
    if (marked !== undefined) return { user: marked, freeName: "", masterKey: undefined };
    if (freeName === undefined) throw namesSpent(person);
    return { user: undefined, freeName, masterKey: undefined };
  }

  /** Ours is what bears the mark, or what our password opens: the mark comes only after the creation. */
  async function demandOurs(user: User, person: Person, masterKey: number, signal: AbortSignal): Promise<void> {
    if (bears(user.remark, person)) return;
    if (!isUnmarked(user.remark) || !(await keys.opens(user, person, masterKey, signal))) throw claimed(person);
  }

  /** The same, and marked from then on: it may be locked next, and then no password proves anything any more. */
  async function demandMarked(
    { user, masterKey = derived.current }: { readonly user: User; readonly masterKey: number | undefined },
    person: Person,
    wrote: (action: string) => void,
    signal: AbortSignal,
  ): Promise<User> {
    await demandOurs(user, person, masterKey, signal);
    const remark = withMark(user.remark, person);
    if (remark === user.remark) return user;
    await users.change(user, { remark }, `the marking of the account of ${person.uuid}`, signal);
    wrote("changed");
    return { ...user, remark };
  }

  async function find(person: Person, signal: AbortSignal): Promise<Account | undefined> {
    const { user, masterKey } = await locate(person, signal);
    if (user === undefined) return undefined;
    const writes: string[] = [];
    const ours = await demandMarked({ user, masterKey }, person, (action) => writes.push(action), signal);
    return accountOf(ours, person, masterKey, writes);
  }

  async function create(request: AccountRequest, username: string, signal: AbortSignal) {
    const doing = `the creation of the account of ${request.uuid}`;
    const password = derived.password(request.uuid, derived.current);
    if (password === undefined) throw new Error("the current master key is missing");
    const outcome = await users.create({ username, password, displayName: displayName(request) }, doing, signal);
    // A create answers nothing, not even an id.
    const user = await users.byName(username, signal);
    if (user === undefined || user.deleted) {
      throw new TransientError({
        code: REASON.NeighbourUnavailable,
        neighbour: "newapi",
        message: `The gateway does not show the account of ${request.uuid} that was just made; it is looked for again.`,
      });
    }
    return { user, created: outcome === "created" };
  }

  /** What can be changed, and differs. Before any login: a change of the group ends sessions. */
  async function align(user: User, request: AccountRequest, signal: AbortSignal): Promise<string[]> {
    const doing = `the change of the account of ${request.uuid}`;
    const writes: string[] = [];
    const { fields, quotaLeft } = corrections(user, request);
    if (fields !== undefined) {
      await users.change(user, fields, doing, signal);
      writes.push("changed");
    }
    if (quotaLeft !== undefined) {
      await users.setQuota(user.id, quotaLeft, doing, signal);
      writes.push("quota-set");
    }
    return writes;
  }

  function accountOf(user: User, person: Person, masterKey: number | undefined, writes: string[]): Account {
    const known = { masterKey };
    let key: Promise<Sensitive> | undefined;
    const mode: KeyMode = person.rotating ? "rotate" : person.overlapping ? "overlap" : "settle";
    return {
      userID: String(user.id),
      username: user.username,
      enabled: user.enabled,
      get masterKey() {
        return known.masterKey;
      },
      apiKey(signal) {
        key ??= keys.obtain({ user, person, known, writes, mode }, signal).catch((error: unknown) => {
          key = undefined;
          throw error;
        });
        return key;
      },
      takeWrites: () => writes.splice(0),
    };
  }

  /** The account on record, if it is this person's of this tenant: good enough to lock it, not to let anybody in. */
  async function recordedUser(id: UserID, uuid: string, signal: AbortSignal): Promise<User | undefined> {
    const user = await users.get(id, signal);
    if (user === undefined) return undefined;
    const marked = bears(user.remark, { tenantID, uuid });
    // Somebody may have wiped the remark: its keys must die all the same.
    return marked || (isUnmarked(user.remark) && isDerivedName(user.username, uuid)) ? user : undefined;
  }

  function isDerivedName(username: string, uuid: string): boolean {
    return derived.versions.some((version) =>
      Array.from({ length: NAMES }, (_, n) => derived.username(uuid, version, n + 1)).includes(username),
    );
  }

  /** The account that is to go for good, with what is known of its password. */
  async function leavingUser(person: Person, wrote: (action: string) => void, signal: AbortSignal) {
    const id = userID(person.userID, adminID);
    const user = id === undefined ? undefined : await recordedUser(id, person.uuid, signal);
    if (user !== undefined) return { user, masterKey: person.masterKey };
    const { user: found, masterKey } = await locate(person, signal);
    if (found === undefined) return undefined;
    return { user: await demandMarked({ user: found, masterKey }, person, wrote, signal), masterKey };
  }

  /**
   * Its tokens first: some releases leave them behind, and with SQLite give the id, and so the keys, to the next user.
   * Locked at once, for who must wait for a limit has a key that works until then.
   */
  async function remove(person: Person, wrote: (action: string) => void, signal: AbortSignal): Promise<void> {
    const doing = `the deletion of the account of ${person.uuid}`;
    const found = await leavingUser(person, wrote, signal);
    if (found === undefined) return;
    const { id, enabled } = found.user;
    if (enabled && (await users.setEnabled(id, false, doing, signal))) wrote("disabled");
    const writes: string[] = [];
    try {
      const known = { masterKey: found.masterKey };
      await keys.clear({ user: { ...found.user, enabled: false }, person, known, writes }, signal);
    } finally {
      writes.forEach(wrote);
    }
    await users.remove(id, doing, signal);
    wrote("deleted");
  }

  async function setEnabled(id: string, uuid: string, enabled: boolean, signal: AbortSignal): Promise<boolean> {
    const doing = `the ${enabled ? "enabling" : "disabling"} of the account of ${uuid}`;
    const user = await recordedUser(demandUserID(id, adminID, doing), uuid, signal);
    if (user === undefined) return false;
    if (user.enabled === enabled) return true;
    return users.setEnabled(user.id, enabled, doing, signal);
  }

  async function known(person: Person, signal: AbortSignal) {
    const located = await locate(person, signal);
    if (located.user === undefined || !bears(located.user.remark, person)) throw gone(person.uuid);
    return { user: located.user, person, known: { masterKey: located.masterKey }, writes: [] };
  }

  return {
    capabilities: { tier: true, quota: true, overlap: true, email: true, keyIsFree: false },
    find,

    async ensure(request, signal) {
      const located = await locate(request, signal);
      const { user, created } =
        located.user === undefined
          ? await create(request, located.freeName, signal)
          : { user: located.user, created: false };
      const masterKey = located.user === undefined ? derived.current : located.masterKey;
      if (!created) await demandOurs(user, request, masterKey ?? derived.current, signal);
      const writes = await align(user, request, signal);
      return { account: accountOf(user, request, masterKey, created ? [] : writes), created };
    },

    rotate: async (person, id, signal) => {
      const subject = await known({ ...person, userID: id }, signal);
      return keys.obtain({ ...subject, mode: "replace" }, signal);
    },
    retire: async (person, signal, keep) => keys.retire(await known(person, signal), signal, keep),
    seal: (owner, apiKey) => derived.seal(owner, apiKey),
    isSealed: (owner, apiKey, seal) => derived.isSealed(owner, apiKey, seal),
    disable: (id, uuid, signal) => setEnabled(id, uuid, false, signal),
    enable: (id, uuid, signal) => setEnabled(id, uuid, true, signal),

    remove,
    drifted: (wanted, pace, signal) => drifted({ users, adminID }, wanted, pace, signal),

    verifyKey: (key, signal) => tryKey(base, key, { clock }, signal),

    check: (expected, signal) => checkGateway({ connection, limits }, expected, signal),
  };
}

function claimed({ uuid }: Person): TerminalError {
  return new TerminalError({
    code: REASON.AccountClaimed,
    neighbour: "newapi",
    upstreamStatus: 200,
    message: `The gateway's account with the name of ${uuid} is not ours: it bears no mark of ours, and our password does not open it; the gateway's admin must rename it.`,
  });
}

function namesSpent({ uuid }: Person): TerminalError {
  return new TerminalError({
    code: REASON.AccountClaimed,
    neighbour: "newapi",
    upstreamStatus: 200,
    message: `The gateway's account of ${uuid} was deleted ${NAMES} times, which keeps each name taken for ever; the gateway's admin must remove those accounts from its database, and disable instead of delete.`,
  });
}

function gone(uuid: string): ConflictError {
  return new ConflictError({
    code: REASON.AccountGone,
    neighbour: "newapi",
    message: `The gateway's account of ${uuid} is gone, so its key cannot be changed; it is made anew.`,
  });
}
