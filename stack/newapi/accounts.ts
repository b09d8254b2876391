import { createHash, randomBytes } from "node:crypto";

/** What a new account is made from, in the gateway's own words. */
export interface NewAccount {
  readonly externalID: string;
  readonly email: string;
  readonly tenantID: string;
  readonly tier: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface Account extends NewAccount {
  readonly userID: string;
  readonly createdAt: string;
  /** Keys that open the gateway, oldest first; a replaced key is not here any more. */
  readonly apiKeys: readonly string[];
  readonly disabled: boolean;
  /** The status with which an account without quota is refused; absent while it has some. */
  readonly exhausted?: 402 | 429 | undefined;
}

/** The gateway's memory: it ends with the process, and no dialect has one of its own. */
export interface Accounts {
  /** Undefined when the external id is taken: one account per external id, for ever. */
  create(input: NewAccount): Account | undefined;
  byUserID(userID: string): Account | undefined;
  byExternalID(externalID: string): Account | undefined;
  byKey(apiKey: string): Account | undefined;
  /** Replaces all keys by a new one, at once. Undefined when there is no such user, here and below. */
  rotate(userID: string): Account | undefined;
  setDisabled(userID: string, disabled: boolean): Account | undefined;
  setExhausted(userID: string, exhausted: 402 | 429 | undefined): Account | undefined;
  /** The account and its keys are gone, as if an operator had deleted them by hand. */
  remove(userID: string): Account | undefined;
  all(): readonly Account[];
  clear(): void;
}

export function makeAccounts(): Accounts {
  const accounts = new Map<string, Account>();
  const userIDByExternalID = new Map<string, string>();
  const userIDByKey = new Map<string, string>();

  const byUserID = (userID: string | undefined) => (userID === undefined ? undefined : accounts.get(userID));

  function change(userID: string, changed: Partial<Account>): Account | undefined {
    const account = accounts.get(userID);
    if (account === undefined) return undefined;
    const next = { ...account, ...changed };
    accounts.set(userID, next);
    return next;
  }

  function newKey(userID: string): string {
    const apiKey = `sk-${randomBytes(36).toString("base64url")}`;
    userIDByKey.set(apiKey, userID);
    return apiKey;
  }

  function forgetKeys(account: Account): void {
    for (const apiKey of account.apiKeys) userIDByKey.delete(apiKey);
  }

  return {
    create(input) {
      if (userIDByExternalID.has(input.externalID)) return undefined;
      // Random, not counted: after a restart an id that somebody still remembers must not name another person.
      const userID = `usr_${randomBytes(9).toString("hex")}`;
      const account: Account = {
        ...input,
        userID,
        createdAt: new Date().toISOString(),
        apiKeys: [newKey(userID)],
        disabled: false,
      };
      accounts.set(userID, account);
      userIDByExternalID.set(input.externalID, userID);
      return account;
    },
    byUserID,
    byExternalID: (externalID) => byUserID(userIDByExternalID.get(externalID)),
    byKey: (apiKey) => byUserID(userIDByKey.get(apiKey)),
    rotate(userID) {
      const account = accounts.get(userID);
      if (account === undefined) return undefined;
      forgetKeys(account);
      return change(userID, { apiKeys: [newKey(userID)] });
    },
    setDisabled: (userID, disabled) => change(userID, { disabled }),
    setExhausted: (userID, exhausted) => change(userID, { exhausted }),
    remove(userID) {
      const account = accounts.get(userID);
      if (account === undefined) return undefined;
      forgetKeys(account);
      accounts.delete(userID);
      userIDByExternalID.delete(account.externalID);
      return account;
    },
    all: () => [...accounts.values()],
    clear() {
      accounts.clear();
      userIDByExternalID.clear();
      userIDByKey.clear();
    },
  };
}

/** How a key is shown wherever it must not be read: its whole SHA-256 in hex, comparable, not usable. */
export function sha256(apiKey: string): string {
  return createHash("sha256").update(apiKey).digest("hex");
}
