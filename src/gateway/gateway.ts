import type { Sensitive } from "../lib/sensitive.ts";

/** Whom a call is about, as the saga knows the person. What a dialect has no use for, it ignores. */
export interface AccountHolder {
  /** The saga's, sent as the gateway's external id and idempotency key where there is such a thing. */
  readonly uuid: string;
  readonly tenantID: string;
  /** Canonical (trimmed, lower case). */
  readonly email: string;
  /** The gateway's id on record: a hint, used only for an account that carries our marks. */
  readonly userID: string | undefined;
  /** false: the account is to be locked, also while its key is asked for. */
  readonly enabled: boolean;
  /** Names the key that is wanted. Each rotation has another one, known before the call: a repeated call makes no second key. */
  readonly keyVersion: string;
  /** The key of this version is to replace another, which stays alive until `retire`. */
  readonly rotating: boolean;
  /** The key before the last rotation is still to be alive. */
  readonly overlapping: boolean;
  /** Which master key the account's password was last derived from, where the dialect derives one. */
  readonly masterKey: number | undefined;
}

/** What an account is made from, and what it is to be. */
export interface AccountRequest extends AccountHolder {
  readonly tier: string;
  /** Undefined: not managed. */
  readonly quota: number | undefined;
  readonly keycloakUserID: string;
  readonly keycloakRealm: string;
}

/** As much of it as can be compared. */
export type WantedAccount = Pick<
  AccountRequest,
  "uuid" | "tenantID" | "email" | "userID" | "enabled" | "tier" | "quota"
>;

export interface Account {
  /** The gateway's id, as text whatever the gateway's own type is. */
  readonly userID: string;
  /** Shown in status; a gateway without user names gives its external id. */
  readonly username: string;
  /** As the gateway says; undefined where it does not say. */
  readonly enabled: boolean | undefined;
  /**
   * The key. Asked for once, and only when it must be written: at some gateways that costs calls that are counted
   * (`keyIsFree` in the capabilities), so a WaitingError may come that says until when.
   */
  apiKey(signal: AbortSignal): Promise<Sensitive>;
  /** What was written at the gateway for this account since the last call of this, for the audit. */
  takeWrites(): readonly string[];
  /** As in AccountHolder; after `apiKey` it may be another one. */
  readonly masterKey: number | undefined;
}

/**
 * What `GET /v1/models` said of a key: `dead` = 401 (unknown, deleted, rotated), `disabled` = 403 (its user is
 * disabled), `exhausted` = the gateway says that the quota is used up.
 */
export type KeyVerdict = "works" | "dead" | "disabled" | "exhausted";

/** What this dialect can change after creation; what it cannot is reported as `NotSupportedByGateway`. */
export interface GatewayCapabilities {
  readonly tier: boolean;
  readonly quota: boolean;
  /** The old key can stay alive for `spec.key.overlap` after a rotation: asking for a new version's key is the rotation. */
  readonly overlap: boolean;
  /** The account's email follows `spec.email`. */
  readonly email: boolean;
  /** The key comes along with the account, so that asking for it costs nothing. */
  readonly keyIsFree: boolean;
}

/**
 * One tenant's gateway, in the words of the saga. Every method is one outside effect or one look, may be cut
 * anywhere and repeated, and throws only SagaErrors. "Ours" means that the account carries our uuid and tenant id.
 */
export interface Gateway {
  readonly capabilities: GatewayCapabilities;
  /**
   * The account of this person, or undefined; one that a creation which was cut short left without our mark has it from then
   * on. An account that carries another tenant's id is TerminalError `AccountClaimed`; its key is dropped unread.
   */
  find(person: AccountHolder, signal: AbortSignal): Promise<Account | undefined>;
  /** Creates; one that exists (the lost reply of our own earlier call) is found. What can be changed is as wanted then. */
  ensure(request: AccountRequest, signal: AbortSignal): Promise<{ account: Account; created: boolean }>;
  /**
   * Replaces the key at once: none that was alive before is alive after. Not idempotent upstream: the saga records the
   * intent before and compares after. An account that is gone is ConflictError `AccountGone`: look again, make it again.
   */
  rotate(person: AccountHolder, userID: string, signal: AbortSignal): Promise<Sensitive>;
  /** Ends the overlap: of our keys only `keep` stays alive, or else the one of `keyVersion`. Returns how many died. */
  retire(person: AccountHolder, signal: AbortSignal, keep?: Sensitive): Promise<number>;
  /**
   * What a Secret carries beside a key, so that the key can be known again without asking for it: only we can make it,
   * and it fits no other key, account or person. Undefined where a key is free.
   */
  sign(owner: KeyOwner, apiKey: Sensitive): string | undefined;
  isSigned(owner: KeyOwner, apiKey: Sensitive, signature: string): boolean;
  /** Idempotent; an account that is gone is success. Returns false when it was gone. */
  disable(userID: string, uuid: string, signal: AbortSignal): Promise<boolean>;
  /** Idempotent. Returns false when the account is gone. */
  enable(userID: string, uuid: string, signal: AbortSignal): Promise<boolean>;
  /**
   * For good: the person's keys, then the account; one that is gone is success. `wrote` is told of each write for the
   * audit. It may cost calls that are counted, so a WaitingError may come; the account is locked before that.
   * Undefined: this gateway deletes nothing.
   */
  readonly remove:
    ((person: AccountHolder, wrote: (action: string) => void, signal: AbortSignal) => Promise<void>) | undefined;
  /**
   * The uuids of those whose account is not as wanted: gone, without our mark, locked or not, in another tier, with
   * another quota. Read in pages, or one by one where that is less; writes nothing, and no call of it is critical. `pace`
   * is awaited between calls. Nobody, where the gateway has no such list.
   */
  drifted(wanted: readonly WantedAccount[], pace: () => Promise<void>, signal: AbortSignal): Promise<string[]>;
  /**
   * Opens `GET /v1/models` with the key; never a critical call. TransientError when the answer says nothing about the
   * key, so a proxy's page or a rate limit neither passes nor condemns it.
   */
  verifyKey(apiKey: Sensitive, signal: AbortSignal): Promise<KeyVerdict>;
  /**
   * The admin credential works; throws a TerminalError `CredentialsRefused`, or a TransientError, also when something
   * else than a gateway answers at the address (its message says which setting to correct).
   */
  check(expected: Expected, signal: AbortSignal): Promise<GatewayReport>;
}

/** What the Tenant asks of its gateway. */
export interface Expected {
  readonly tiers: readonly string[];
}

export interface GatewayProblem {
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  /** One sentence: what is not as needed and which setting fixes it. */
  readonly message: string;
  /** No user can be made until it is fixed. */
  readonly blocking: boolean;
}

export interface GatewayReport {
  readonly problems: readonly GatewayProblem[];
  /** Reasons of advice that could not be judged this time: what was said of them before stands. */
  readonly unknown: readonly string[];
}

export interface KeyOwner {
  readonly uuid: string;
  readonly userID: string;
}
