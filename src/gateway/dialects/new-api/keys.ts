import { REASON } from "../../../api/reasons.ts";
import type { Clock } from "../../../lib/clock.ts";
import { withDeadline } from "../../../lib/deadline.ts";
import type { Sensitive } from "../../../lib/sensitive.ts";
import type { AccountHolder } from "../../gateway.ts";
import { type GatewayApi, notYetKnown, tooManyCritical } from "./api.ts";
import type { Limits, Permit } from "./limits.ts";
import type { Derived } from "./masterKeys.ts";
import { logIn, type Session } from "./session.ts";
import { allTokens, createToken, deleteToken, mayBe, ourTokens, revealToken, type Token, tokenName } from "./tokens.ts";
import type { User, Users } from "./users.ts";
import { terminal, unavailable } from "../../failures.ts";

/**
 * What becomes of our other keys. `settle`: they go. `overlap`, `rotate`: the one before stays. `replace`: they go with every
 * key that somebody made by hand, and the wanted one is made again.
 */
export type KeyMode = "settle" | "overlap" | "rotate" | "replace";

export interface AccountContext {
  readonly user: User;
  readonly person: AccountHolder;
  /** Which master key the password comes from; changed when it is set again. */
  readonly known: { masterKey: number | undefined };
  /** What was written, for the audit. */
  readonly writes: string[];
}

/** A login and the reveal, reserved together: a login alone gives nobody a key. */
const COST = 2;
/** With the renewal of the person's own access token. */
const COST_OF_REPLACING = 3;
/** For those before, while it is found out how many calls pass. */
const LONGEST_TURN_MS = 8_000;
/** A person who makes keys faster than they are removed is locked by now: more looks would be the gateway's lies. */
const LONGEST_CLEARING = 20;

export interface Keys {
  obtain(subject: AccountContext & { readonly mode: KeyMode }, signal: AbortSignal): Promise<Sensitive>;
  /** Of our keys leaves only `keep` alive, or else the one of the person's version. Returns how many died. */
  retire(subject: AccountContext, signal: AbortSignal, keep?: Sensitive): Promise<number>;
  /** Leaves no token of the person's alive, ours or not, and the account locked. */
  clear(subject: AccountContext, signal: AbortSignal): Promise<void>;
  /** Whether our password opens this account. */
  opens(user: User, person: AccountHolder, masterKey: number, signal: AbortSignal): Promise<boolean>;
}

export function makeKeys(deps: {
  readonly api: GatewayApi;
  readonly users: Users;
  readonly derived: Derived;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly tenantID: string;
  readonly passwordReset: (uuid: string, why: "master-key" | "refused") => void;
}): Keys {
  const { users, derived, limits, clock, tenantID } = deps;
  /** One after the other for each person: names of tokens are not unique, so two at once would make two. */
  const turns = new Map<string, Promise<unknown>>();

  async function inTurn<T>(uuid: string, act: () => Promise<T>): Promise<T> {
    const before = turns.get(uuid);
    const mine = (before ?? Promise.resolve()).catch(() => undefined).then(act);
    turns.set(uuid, mine);
    try {
      return await mine;
    } finally {
      if (turns.get(uuid) === mine) turns.delete(uuid);
    }
  }

  async function admit(person: AccountHolder, doing: string, cost: number, signal: AbortSignal): Promise<Permit> {
    const began = performance.now();
    for (;;) {
      const admission = limits.admit(tenantID, person.uuid, cost);
      if ("permit" in admission) return admission.permit;
      if ("until" in admission) throw tooManyCritical(doing, admission.until, clock.now());
      const left = LONGEST_TURN_MS - (performance.now() - began);
      if (left <= 0 || !(await isOver(admission.turn, left, signal))) throw notYetKnown(doing);
    }
  }

  async function setPassword(
    subject: AccountContext,
    why: "master-key" | "refused",
    signal: AbortSignal,
  ): Promise<void> {
    const { user, person, known, writes } = subject;
    const password = demandPassword(person, derived.current);
    await users.change(user.id, () => ({ password }), `the setting of the password of ${person.uuid}`, signal);
    known.masterKey = derived.current;
    writes.push("password-reset");
    deps.passwordReset(person.uuid, why);
  }

  function demandPassword(person: AccountHolder, version: number): Sensitive {
    const password = derived.password(person.uuid, version);
    if (password === undefined) throw new Error(`there is no master key ${version}`);
    return password;
  }

  /** As the person; a password that does not open is set again once, by the admin. */
  async function enter(subject: AccountContext, permit: Permit, signal: AbortSignal): Promise<Session> {
    const { user, person, known } = subject;
    // Also when the master key was renewed: the one moment at which it costs no critical call.
    if (known.masterKey !== derived.current) await setPassword(subject, "master-key", signal);
    const password = demandPassword(person, derived.current);
    const first = await logIn(deps, user, password, permit, signal);
    if (first !== undefined) return first;
    await setPassword(subject, "refused", signal);
    const second = await logIn(deps, user, password, permit, signal);
    if (second !== undefined) return second;
    throw terminal(
      REASON.LoginBlocked,
      `The gateway refuses the login as ${user.username} with the password that its admin API has just set; its admin must look at that account.`,
    );
  }

  /** In a session of the person, who is enabled for it and afterwards is as wanted. */
  async function asPerson<T>(
    subject: AccountContext,
    cost: number,
    act: (session: Session) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { user, person, writes } = subject;
    const permit = await admit(person, `the key of ${person.uuid}`, cost, signal);
    try {
      const doing = `the unlocking of the account of ${person.uuid}`;
      if (!user.enabled) await users.setEnabled(user.id, true, doing, signal);
      try {
        const session = await enter(subject, permit, signal);
        try {
          return await act(session);
        } finally {
          await session.end(signal);
        }
      } finally {
        if (!person.enabled)
          await users.setEnabled(user.id, false, `the locking of the account of ${person.uuid}`, signal);
        else if (!user.enabled) writes.push("enabled");
      }
    } finally {
      permit.end();
    }
  }

  function inSession<T>(
    subject: AccountContext,
    cost: number,
    act: (session: Session) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    return inTurn(subject.person.uuid, () => asPerson(subject, cost, act, signal));
  }

  async function take(
    subject: AccountContext,
    mode: KeyMode,
    session: Session,
    signal: AbortSignal,
  ): Promise<Sensitive> {
    const { person, writes } = subject;
    const wanted = tokenName(person.keyVersion);
    // It opens the account as the person before, who could make keys with it meanwhile.
    if (mode === "replace") await session.renewAccessToken(signal);
    const remove = async (tokens: readonly Token[]): Promise<void> => {
      for (const { id } of tokens) {
        await deleteToken(session, id, signal);
        writes.push("key-deleted");
      }
    };
    // Whoever made tokens beside ours may be the person before, to whom the account is closed.
    const all = await (mode === "replace" ? allTokens : ourTokens)(session, signal);
    const alive = mode === "replace" ? [] : all.filter((token) => token.alive);
    await remove(all.filter((token) => !alive.includes(token)));
    const chosen = choose(alive, wanted, mode);
    // At most two are alive at any moment: what is too many goes before another one is made.
    const others = alive.filter((token) => token !== chosen);
    const kept = mode === "rotate" || mode === "overlap" ? others.slice(-1) : [];
    await remove(others.filter((token) => !kept.includes(token)));
    if (chosen !== undefined) return revealToken(session, chosen, signal);
    await createToken(session, wanted, signal);
    writes.push("key-created");
    const made = (await ourTokens(session, signal)).find(({ name, alive: lives }) => lives && name === wanted);
    if (made !== undefined) return revealToken(session, made, signal);
    throw unavailable(
      `The gateway does not show the token of ${person.uuid} that was just made; it is looked for again.`,
      { upstreamStatus: 200 },
    );
  }

  return {
    obtain: (subject, signal) => {
      const { mode } = subject;
      const cost = mode === "replace" ? COST_OF_REPLACING : COST;
      return inSession(subject, cost, (session) => take(subject, mode, session, signal), signal);
    },

    retire: (subject, signal, keep) => {
      const act = async (session: Session): Promise<number> => {
        const all = await ourTokens(session, signal);
        const kept = keep === undefined ? undefined : all.find((token) => mayBe(token, keep));
        const chosen = kept ?? choose(all, tokenName(subject.person.keyVersion), "settle");
        const others = all.filter((token) => token !== chosen);
        for (const { id } of others) await deleteToken(session, id, signal);
        return others.length;
      };
      return inSession(subject, 1, act, signal);
    },

    clear: (subject, signal) => {
      const act = async (session: Session): Promise<void> => {
        // Until a look finds none: the person may be making one meanwhile.
        for (let round = 1; round <= LONGEST_CLEARING; round += 1) {
          const left = await allTokens(session, signal);
          if (left.length === 0) return;
          for (const { id } of left) {
            await deleteToken(session, id, signal);
            subject.writes.push("key-deleted");
          }
        }
        throw unavailable(
          `The gateway shows tokens of ${subject.person.uuid} again and again after they were deleted; it is tried again.`,
        );
      };
      return inSession(subject, 1, act, signal);
    },

    opens: (user, person, masterKey, signal) =>
      inTurn(person.uuid, async () => {
        const password = derived.password(person.uuid, masterKey);
        if (password === undefined || !user.enabled) return false;
        const permit = await admit(person, `the look whose account ${user.username} is`, 1, signal);
        try {
          const session = await logIn(deps, user, password, permit, signal);
          await session?.end(signal);
          return session !== undefined;
        } finally {
          permit.end();
        }
      }),
  };
}

/** False: not within this time. */
async function isOver(turn: Promise<void>, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    return await withDeadline(
      signal,
      ms,
      (cut) =>
        new Promise<boolean>((resolve) => {
          cut.addEventListener("abort", () => resolve(false), { once: true });
          void turn.then(() => resolve(true));
        }),
    );
  } catch {
    return false;
  }
}

/** The wanted one, the oldest if there are several; unless another one is asked for, else the newest that there is. */
function choose(tokens: readonly Token[], wanted: string, mode: KeyMode): Token | undefined {
  return tokens.find(({ name }) => name === wanted) ?? (mode === "rotate" ? undefined : tokens.at(-1));
}
