import type { UnmanagedUser } from "../api/operator.ts";
import type { MissingPart } from "../api/setupCommands.ts";
import type { ProfileValues } from "../api/tenantUser.ts";
import { type SagaError, TerminalError, WaitingError } from "../lib/errors.ts";

/** What the saga wants a person's Keycloak user to be. */
export interface DesiredUser extends Partial<ProfileValues> {
  /** The saga's uuid: mark `sme_user_uuid`, and the value of `X-Idempotency-Key`. */
  readonly uuid: string;
  /** Mark `sme_tenant_id`. */
  readonly tenantID: string;
  /** Canonical email; also the username where the realm allows it. */
  readonly email: string;
  readonly enabled: boolean;
  /** Full group paths ("/sme-users") or names, default groups included. `undefined`: only `defaultGroups` are ensured. */
  readonly groups?: readonly string[] | undefined;
  readonly defaultGroups: readonly string[];
  /** `undefined`: not managed. */
  readonly realmRoles?: readonly string[] | undefined;
  /** `undefined`: not managed. Never contains `sme_*`. */
  readonly attributes?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Set at creation, and when the account passes to another person: repeated, they would never end. */
  readonly requiredActions?: readonly string[] | undefined;
  /** Groups, roles and attributes that we set earlier and that may therefore be taken away again. */
  readonly managedBefore: ManagedSet;
  /** The row says that the account was adopted; Keycloak's own mark says so too, either is enough. */
  readonly adopted?: boolean | undefined;
  /** It was said of this person that Keycloak has locked it out. */
  readonly saidLockedOut?: boolean | undefined;
  /** The platform lets this tenant speak for the address, so that it counts as verified. Absent: it does. */
  readonly vouched?: boolean | undefined;
  /** Another person had this account before: what still opens it goes first. */
  readonly reset?: boolean | undefined;
}

/** Whose account has an address that somebody else wants, by its marks. */
export interface AddressHolder {
  readonly tenantID: string;
  readonly uuid: string;
  readonly userID: string;
}

/** The address that our row has for an account. */
export interface OwnAddress {
  readonly email: string;
  /** The platform lets its tenant speak for it: only then it counts as verified. */
  readonly vouched: boolean;
}

/** The address is another marked account's: this person waits until it is free. */
export class AddressHeld extends WaitingError {
  readonly holder: AddressHolder;

  constructor(failure: ConstructorParameters<typeof WaitingError>[0], holder: AddressHolder) {
    super(failure);
    this.holder = holder;
  }
}

/** The call was never made, so that nothing came of it: what came before it failed. */
export class NotAsked extends Error {
  readonly failure: SagaError;

  constructor(failure: SagaError) {
    super(failure.message, { cause: failure });
    this.name = "NotAsked";
    this.failure = failure;
  }
}

/** Our marks stand on somebody who has another address, or one that nobody has proven; `wrongAddress` tells which. */
export class MarkedUser extends TerminalError {
  readonly wrongAddress: boolean;

  constructor(failure: ConstructorParameters<typeof TerminalError>[0], wrongAddress: boolean) {
    super(failure);
    this.wrongAddress = wrongAddress;
  }
}

/** What we have given this user: stands in the row, so that only ours is ever removed. */
export interface ManagedSet {
  readonly groups: readonly string[];
  readonly realmRoles: readonly string[];
  readonly attributes: readonly string[];
}

export interface EnsuredUser {
  readonly userID: string;
  readonly created: boolean;
  readonly adopted: boolean;
  /** Something differed and was written. */
  readonly changed: boolean;
  readonly managed: ManagedSet;
  /** It was found under another address, and is not provably the same person's: all that opened it is gone. */
  readonly succeeded?: boolean | undefined;
  /** The realm does not let the username follow the email; shown, not an error. */
  readonly usernameKept: boolean;
  /** Keycloak's brute force protection has disabled the person, whom the spec wants enabled: left, and to be shown. */
  readonly lockedOut: boolean;
}

export type Adoption =
  | { readonly policy: "Never" }
  /** Only in a realm of one Tenant; `allowedGroups` are default groups and `allow.groups`. */
  | { readonly policy: "Unclaimed"; readonly allowedGroups: readonly string[] };

/** Told of each write as soon as it is made: what comes after it may fail. */
export interface Telling {
  readonly wrote?: (action: "created" | "adopted" | "updated" | "reset" | "deleted", userID: string) => void;
  /** Called before an account passes to another person, to record it: what comes after it may be cut anywhere. */
  readonly succeeding?: () => Promise<void>;
}

export interface Past {
  /** The worker session under whose eyes this person is new: nothing was begun for it before. Absent: it may have been. */
  readonly newIn?: number | undefined;
}

/** One finding of the realm check: a condition with one sentence, found before the first user suffers. */
export interface RealmProblem {
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  /** One sentence: what is missing and how to fix it. */
  readonly message: string;
  /** `false`: a warning only (NoLoginPath). */
  readonly blocking: boolean;
  /** What it is about, where the reason alone does not say it. */
  readonly subject?: MissingPart | undefined;
}

/**
 * One tenant's realm. Every method may be cut anywhere and repeated; throws only SagaErrors (upstream "keycloak").
 * "Ours" means both marks, always; ids handed in are hints, verified by the marks before use.
 */
export interface Realm {
  /**
   * Finds ours by id hint, then by mark; creates what is missing; corrects what differs; touches nothing else.
   * A 409 that is not ours: adopted by the rules of `how`, else TerminalError `UserClaimed`; WaitingError
   * `EmailInUse` while another person of our own tenant has the address, since that one may be about to give it up.
   * MarkedUser when, without a hint, the one who carries the marks is not whom they were made for.
   */
  ensureUser(
    user: DesiredUser,
    hint: string | undefined,
    how: Adoption & Telling & Past,
    signal: AbortSignal,
  ): Promise<EnsuredUser>;
  /**
   * The uuid carried by a user with this email and our tenant mark, for a row that has no upstream id yet. Only of one who is
   * enabled and whose email is verified: people can write an address themselves.
   */
  uuidByEmail(email: string, tenantID: string, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Gives an account the address back that our row has, so that the one it took is free. Nothing is done where it has it, nor
   * to the verified address of an adopted account. False: nothing was changed.
   */
  restoreEmail(holder: AddressHolder, own: OwnAddress, signal: AbortSignal): Promise<boolean>;
  /**
   * Takes the address off an account of which no row here says whose it is, where it is not verified: its person wrote it
   * there. False: nothing was changed.
   */
  takeAddress(holder: AddressHolder, email: string, signal: AbortSignal): Promise<boolean>;
  /** The id of the user with both marks, or undefined. */
  findUser(uuid: string, tenantID: string, signal: AbortSignal): Promise<string | undefined>;
  /** Idempotent; false when there is no user of ours any more. An adopted account is left as it is: true. */
  setEnabled(uuid: string, tenantID: string, userID: string, enabled: boolean, signal: AbortSignal): Promise<boolean>;
  /**
   * Deletes ours by id after checking both marks; gone already is success. An account that carries the adopted mark is
   * released instead. TerminalError `UserClaimed` when the account lives on without marks: only a person can tell.
   */
  deleteUser(uuid: string, tenantID: string, userID: string, signal: AbortSignal): Promise<void>;
  /** For adopted accounts: takes away our marks and what we gave, never the account. */
  releaseUser(uuid: string, tenantID: string, userID: string, managed: ManagedSet, signal: AbortSignal): Promise<void>;
  /**
   * Sends the execute-actions mail. Not idempotent upstream: the saga records the intent first. Throws NotAsked where it did
   * not come to the call.
   */
  invite(userID: string, actions: readonly string[], signal: AbortSignal): Promise<void>;
  /**
   * The uuids of those who are no longer as wanted, or gone. Reads in pages, writes nothing. Groups and roles that
   * somebody else added are not looked for.
   */
  drifted(users: readonly DesiredUser[], signal: AbortSignal): Promise<string[]>;
  /** One page of the people who were in the realm before us, from the `first` of its users on. Reads only. */
  unmanagedUsers(request: UnmanagedUsersRequest, signal: AbortSignal): Promise<UnmanagedUsersPage>;
  /** What stands in the way of this tenant's users; empty when all is well. */
  check(request: RealmCheck, signal: AbortSignal): Promise<RealmProblem[]>;
  /** What the realm says of itself, the same under every address it has. Realms of two Keycloaks differ in it. */
  identity(signal: AbortSignal): Promise<string>;
}

export interface RealmCheck {
  readonly defaultGroups: readonly string[];
  readonly allowedGroups: readonly string[];
  readonly allowedRealmRoles: readonly string[];
}

export interface UnmanagedUsersRequest {
  readonly first: number;
  /** Groups in which somebody may be and still be adopted. */
  readonly allowedGroups: readonly string[];
}

export interface UnmanagedUsersPage {
  readonly unmanagedUsers: readonly UnmanagedUser[];
  /** Where the next page begins; undefined: this was the last. */
  readonly next: number | undefined;
}
