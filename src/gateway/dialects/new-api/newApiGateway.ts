import { REASON } from "../../../api/reasons.ts";
import type { ObserveCall } from "../../../api/upstreamOperations.ts";
import type { Clock } from "../../../lib/clock.ts";
import { ConflictError, TerminalError } from "../../../lib/errors.ts";
import type { MasterKeys } from "../../../lib/masterKeys.ts";
import type { Sensitive } from "../../../lib/sensitive.ts";
import { cutBytes, plainText } from "../../../lib/text.ts";
import { tryKey } from "../../models.ts";
import type { Account, AccountHolder, AccountRequest, Gateway, GatewayCapabilities } from "../../gateway.ts";
import { corrections, displayName, type Fields, searchWord } from "./align.ts";
import { checkGateway } from "./check.ts";
import { makeGatewayApi } from "./api.ts";
import { driftedAccounts } from "./accountDrift.ts";
import { demandUserID, type UserID, userID } from "./ids.ts";
import { type KeyMode, makeKeys } from "./keys.ts";
import type { Limits } from "./limits.ts";
import { derive } from "./masterKeys.ts";
import { bears, isUnmarked, withMark } from "./marks.ts";
import { makeGatewayCall } from "../../gatewayCall.ts";
import { OPERATIONS } from "./operations.ts";
import { makeUsers, type User } from "./users.ts";
import { withoutEnd } from "../../../lib/text.ts";
import { terminal, unavailable } from "../../failures.ts";

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
  readonly observe?: ObserveCall;
  /** A person's password at the gateway had to be set again, and why. */
  readonly passwordReset: (uuid: string, why: "master-key" | "refused") => void;
}

export const CAPABILITIES: GatewayCapabilities = {
  tier: true,
  quota: true,
  overlap: true,
  email: true,
  keyIsFree: false,
};

/** Of what the gateway calls the account, as it is kept and shown; names that we give have 20 characters. */
const LONGEST_NAME = 128;

/** Names that are taken for ever by accounts that somebody deleted; after so many a person must look. */
const NAMES = 4;

/**
 * The admin API of the open-source program new-api, as it is: accounts by a derived name and a mark in the remark, keys
 * only in the name of the person. Throws a TerminalError for settings that can never work.
 */
export function makeNewApiGateway(options: NewApiOptions): Gateway {
  const { clock, limits, tenantID } = options;
  const base = withoutEnd(options.url, "/");
  const adminID = Number(options.userID);
  if (!Number.isSafeInteger(adminID) || adminID <= 0) {
    throw terminal(
      REASON.NewAPICredentialsMissing,
      "user-id in the gateway's credential Secret must be the numeric id of the admin whose token it is.",
    );
  }
  const admin = { token: options.token, id: adminID };
  const call = makeGatewayCall(OPERATIONS, options.observe);
  const api = makeGatewayApi({ base, admin, tenantID, limits, call, clock });
  const users = makeUsers(api);
  const derived = derive(options.masterKeys, tenantID, base);
  const keys = makeKeys({ api, users, derived, limits, clock, tenantID, passwordReset: options.passwordReset });
  limits.join(tenantID);

  /** The living account of this person, with what is known of its password; `freeName`: under which one can be made. */
  interface Located {
    readonly user: User | undefined;
    readonly freeName: string;
    /** The master key that its name was derived from: the likeliest for its password too. */
    readonly masterKey: number | undefined;
  }

  async function locate(person: AccountHolder, signal: AbortSignal): Promise<Located> {
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
    const marked = (await users.search(searchWord(person), signal)).find(
      (user) => !user.deleted && bears(user.remark, person),
    );
    if (marked !== undefined) return { user: marked, freeName: "", masterKey: undefined };
    if (freeName === undefined) throw namesSpent(person);
    return { user: undefined, freeName, masterKey: undefined };
  }

  /** Ours is what bears the mark, or what our password opens: the mark comes only after the creation. */
  async function demandOurs(user: User, person: AccountHolder, masterKey: number, signal: AbortSignal): Promise<void> {
    if (bears(user.remark, person)) return;
    if (!isUnmarked(user.remark) || !(await keys.opens(user, person, masterKey, signal))) throw claimed(person);
  }

  /** The same, and marked from then on: it may be locked next, and then no password proves anything any more. */
  async function demandMarked(
    { user, masterKey = derived.current }: { readonly user: User; readonly masterKey: number | undefined },
    person: AccountHolder,
    wrote: (action: string) => void,
    signal: AbortSignal,
  ): Promise<User> {
    await demandOurs(user, person, masterKey, signal);
    if (bears(user.remark, person)) return user;
    const doing = `the marking of the account of ${person.uuid}`;
    const marked = await users.change(user.id, (latest) => unlessClaimed(latest, person), doing, signal);
    wrote("changed");
    return marked;
  }

  async function find(person: AccountHolder, signal: AbortSignal): Promise<Account | undefined> {
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
      throw unavailable(
        `The gateway does not show the account of ${request.uuid} that was just made; it is looked for again.`,
        { upstreamStatus: 200 },
      );
    }
    return { user, created: outcome === "created" };
  }

  /** As somebody may have marked it meanwhile. */
  function unlessClaimed(latest: User, person: AccountHolder): { remark: string } | undefined {
    if (bears(latest.remark, person)) return undefined;
    if (!isUnmarked(latest.remark)) throw claimed(person);
    return { remark: withMark(latest.remark, person) };
  }

  /**
   * What can be changed, and differs; the account as it is then. Before any login: a change of the group ends sessions.
   */
  async function align(user: User, request: AccountRequest, signal: AbortSignal) {
    const doing = `the change of the account of ${request.uuid}`;
    const writes: string[] = [];
    let aligned = user;
    if (corrections(user, request).fields !== undefined) {
      const adjust = (latest: User): Fields | undefined => {
        unlessClaimed(latest, request);
        return corrections(latest, request).fields;
      };
      aligned = await users.change(user.id, adjust, doing, signal);
      writes.push("changed");
    }
    const { quotaLeft } = corrections(aligned, request);
    if (quotaLeft !== undefined) {
      await users.setQuota(user.id, quotaLeft, doing, signal);
      aligned = { ...aligned, quota: quotaLeft };
      writes.push("quota-set");
    }
    return { aligned, writes };
  }

  function accountOf(user: User, person: AccountHolder, masterKey: number | undefined, writes: string[]): Account {
    const known = { masterKey };
    let key: Promise<Sensitive> | undefined;
    const mode: KeyMode = person.rotating ? "rotate" : person.overlapping ? "overlap" : "settle";
    return {
      userID: String(user.id),
      username: cutBytes(plainText(cutBytes(user.username, LONGEST_NAME)), LONGEST_NAME),
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
  async function leavingUser(person: AccountHolder, wrote: (action: string) => void, signal: AbortSignal) {
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
  async function remove(person: AccountHolder, wrote: (action: string) => void, signal: AbortSignal): Promise<void> {
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

  async function known(person: AccountHolder, signal: AbortSignal) {
    const located = await locate(person, signal);
    if (located.user === undefined || !bears(located.user.remark, person)) throw gone(person.uuid);
    return { user: located.user, person, known: { masterKey: located.masterKey }, writes: [] };
  }

  return {
    capabilities: CAPABILITIES,
    find,

    async ensure(request, signal) {
      const located = await locate(request, signal);
      const { user, created } =
        located.user === undefined
          ? await create(request, located.freeName, signal)
          : { user: located.user, created: false };
      const masterKey = located.user === undefined ? derived.current : located.masterKey;
      if (!created) await demandOurs(user, request, masterKey ?? derived.current, signal);
      const { aligned, writes } = await align(user, request, signal);
      return { account: accountOf(aligned, request, masterKey, created ? [] : writes), created };
    },

    rotate: async (person, id, signal) => {
      const subject = await known({ ...person, userID: id }, signal);
      return keys.obtain({ ...subject, mode: "replace" }, signal);
    },
    retire: async (person, signal, keep) => keys.retire(await known(person, signal), signal, keep),
    sign: (owner, apiKey) => derived.sign(owner, apiKey),
    isSigned: (owner, apiKey, signature) => derived.isSigned(owner, apiKey, signature),
    disable: (id, uuid, signal) => setEnabled(id, uuid, false, signal),
    enable: (id, uuid, signal) => setEnabled(id, uuid, true, signal),

    remove,
    drifted: (wanted, pace, signal) => driftedAccounts({ users, adminID }, wanted, pace, signal),

    verifyKey: (key, signal) => tryKey(base, key, { call, clock }, signal),

    check: (expected, signal) => checkGateway({ api, limits }, expected, signal),
  };
}

function claimed({ uuid }: AccountHolder): TerminalError {
  return terminal(
    REASON.AccountClaimed,
    `The gateway's account with the name of ${uuid} is not ours: it bears no mark of ours, and our password does not open it; the gateway's admin must rename it.`,
    { upstreamStatus: 200 },
  );
}

function namesSpent({ uuid }: AccountHolder): TerminalError {
  return terminal(
    REASON.AccountClaimed,
    `The gateway's account of ${uuid} was deleted ${NAMES} times, which keeps each name taken for ever; the gateway's admin must remove those accounts from its database, and disable instead of delete.`,
    { upstreamStatus: 200 },
  );
}

function gone(uuid: string): ConflictError {
  return new ConflictError({
    code: REASON.AccountGone,
    upstream: "newapi",
    message: `The gateway's account of ${uuid} is gone, so its key cannot be changed; it is made again.`,
  });
}
