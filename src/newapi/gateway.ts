import type { Sensitive } from "../lib/sensitive.ts";

/** What an account is made from. `uuid` is the saga's, sent as the gateway's external id and idempotency key. */
export interface AccountRequest {
  readonly uuid: string;
  readonly tenantID: string;
  /** Canonical (trimmed, lower case). */
  readonly email: string;
  readonly tier: string;
  readonly keycloakUserID: string;
  readonly keycloakRealm: string;
}

export interface Account {
  /** The gateway's id, as text whatever the gateway's own type is. */
  readonly userID: string;
  /** Shown in status; a gateway without user names gives its external id. */
  readonly username: string;
  readonly apiKey: Sensitive;
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
  /** The old key can stay alive for `spec.key.overlap` after a rotation. */
  readonly overlap: boolean;
  /** The account's email follows `spec.email`. */
  readonly email: boolean;
}

/**
 * One tenant's gateway, in the words of the saga. Every method is one outside effect or one look, may be cut
 * anywhere and repeated, and throws only SagaErrors. "Ours" means that the account carries our uuid and tenant id.
 */
export interface Gateway {
  readonly capabilities: GatewayCapabilities;
  /**
   * The account with this uuid, or undefined. An account that carries another tenant's id is
   * TerminalError `AccountClaimed`; its key is dropped unread.
   */
  find(uuid: string, tenantID: string, signal: AbortSignal): Promise<Account | undefined>;
  /** Creates; 409 is resolved by `find` (the lost reply of our own earlier call). */
  ensure(request: AccountRequest, signal: AbortSignal): Promise<{ account: Account; created: boolean }>;
  /**
   * Replaces the key. Not idempotent upstream: the saga records the intent before and compares after.
   * An account that is gone is ConflictError `AccountGone`: look again, make it anew.
   */
  rotate(userID: string, uuid: string, signal: AbortSignal): Promise<Sensitive>;
  /** Idempotent; an account that is gone is success. Returns false when it was gone. */
  disable(userID: string, uuid: string, signal: AbortSignal): Promise<boolean>;
  /** Idempotent. Returns false when the account is gone. */
  enable(userID: string, uuid: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Opens `GET /v1/models` with the key; never a critical call. TransientError when the answer says nothing about the
   * key, so a proxy's page or a rate limit neither passes nor condemns it.
   */
  verifyKey(apiKey: Sensitive, signal: AbortSignal): Promise<KeyVerdict>;
  /**
   * The admin credential works; throws a TerminalError `CredentialsRefused`, or a TransientError, also when something
   * else than a gateway answers at the address (its message says which setting to correct).
   */
  check(signal: AbortSignal): Promise<void>;
}
