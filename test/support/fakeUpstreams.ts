/** A realm and a gateway in memory, behind the ports that steps use: what they hold, what they were asked, how they fail. */
import { ConflictError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import type { DesiredUser, Realm } from "../../src/keycloak/realm.ts";
import type { Account, AccountRequest, Gateway, GatewayCapabilities, KeyVerdict } from "../../src/gateway/gateway.ts";

interface Failing<Method> {
  /** The next call of the method fails with this; `after`: once it has done its work, as when the answer is lost. */
  readonly fail: (method: Method, error: Error, when?: "before" | "after") => void;
  /** Names of the calls, in order. */
  readonly calls: string[];
}

function failures(calls: string[]) {
  const planned = new Map<string, { error: Error; when: "before" | "after" }>();
  return {
    plan: (method: string, error: Error, when: "before" | "after" = "before") =>
      void planned.set(method, { error, when }),
    run: async <T>(method: string, signal: AbortSignal, work: () => T): Promise<T> => {
      calls.push(method);
      await Promise.resolve();
      signal.throwIfAborted();
      const plan = planned.get(method);
      planned.delete(method);
      if (plan?.when === "before") throw plan.error;
      const result = work();
      if (plan?.when === "after") throw plan.error;
      return result;
    },
  };
}

export interface FakeUser {
  readonly id: string;
  enabled: boolean;
  readonly adopted: boolean;
  /** Absent: its address is. */
  readonly verified?: boolean;
  wanted: DesiredUser;
}

export interface FakeRealm extends Realm, Failing<keyof Realm> {
  /** By uuid. */
  readonly users: Map<string, FakeUser>;
  readonly mails: string[];
  /** Of each `ensureUser`: the worker session in which the person was said to be new. */
  readonly newIn: (number | undefined)[];
}

export function makeFakeRealm(): FakeRealm {
  const calls: string[] = [];
  const { plan, run } = failures(calls);
  const users = new Map<string, FakeUser>();
  const mails: string[] = [];
  const newIn: (number | undefined)[] = [];
  let made = 0;
  const managed = (user: DesiredUser) => ({
    groups: [...user.defaultGroups, ...(user.groups ?? [])],
    realmRoles: user.realmRoles ?? [],
    attributes: Object.keys(user.attributes ?? {}),
  });
  return {
    users,
    mails,
    newIn,
    calls,
    fail: plan,
    ensureUser: (wanted, _hint, how, signal) => {
      newIn.push(how.newIn);
      return run("ensureUser", signal, () => {
        const known = users.get(wanted.uuid);
        const user: FakeUser = known ?? { id: `kc-${(made += 1)}`, enabled: wanted.enabled, adopted: false, wanted };
        const changed = known !== undefined && JSON.stringify(known.wanted) !== JSON.stringify(wanted);
        user.wanted = wanted;
        user.enabled = wanted.enabled;
        users.set(wanted.uuid, user);
        if (known === undefined || changed) {
          how.wrote?.(
            known === undefined ? "created" : user.adopted && known.wanted.adopted !== true ? "adopted" : "updated",
            user.id,
          );
        }
        return {
          userID: user.id,
          created: known === undefined,
          adopted: user.adopted,
          changed: changed || known === undefined,
          managed: managed(wanted),
          usernameKept: false,
          lockedOut: false,
        };
      });
    },
    uuidByEmail: (email, _tenantID, signal) =>
      run("uuidByEmail", signal, () => {
        const found = [...users].find(
          ([, user]) => user.wanted.email === email && user.enabled && user.verified !== false,
        );
        return found?.[0];
      }),
    restoreEmail: ({ uuid }, { email, vouched }, signal) =>
      run("restoreEmail", signal, () => {
        const user = users.get(uuid);
        if (user !== undefined) Object.assign(user, { wanted: { ...user.wanted, email }, verified: vouched });
        return user !== undefined;
      }),
    takeAddress: ({ uuid }, email, signal) =>
      run("takeAddress", signal, () => {
        const user = users.get(uuid);
        if (user?.wanted.email !== email || user.verified !== false) return false;
        user.wanted = { ...user.wanted, email: "" };
        return true;
      }),
    findUser: (uuid, _tenantID, signal) => run("findUser", signal, () => users.get(uuid)?.id),
    setEnabled: (uuid, _tenantID, _userID, enabled, signal) =>
      run("setEnabled", signal, () => {
        const user = users.get(uuid);
        if (user !== undefined) user.enabled = enabled;
        return user !== undefined;
      }),
    deleteUser: (uuid, _tenantID, _userID, signal) => run("deleteUser", signal, () => void users.delete(uuid)),
    releaseUser: (uuid, _tenantID, _userID, _managed, signal) =>
      run("releaseUser", signal, () => void users.delete(uuid)),
    invite: (userID, _actions, signal) => run("invite", signal, () => void mails.push(userID)),
    drifted: (_users, signal) => run("drifted", signal, () => []),
    unmanagedUsers: (_request, signal) =>
      run("unmanagedUsers", signal, () => ({ unmanagedUsers: [], next: undefined })),
    check: (_request, signal) => run("check", signal, () => []),
    identity: (signal) => run("identity", signal, () => "realm-1"),
  };
}

export interface FakeAccount {
  readonly id: string;
  key: string;
  disabled: boolean;
  readonly request: AccountRequest;
}

export interface FakeGateway extends Gateway, Failing<keyof Gateway> {
  /** By uuid. */
  readonly accounts: Map<string, FakeAccount>;
  verdict: KeyVerdict | undefined;
}

export function makeFakeGateway(capabilities: Partial<GatewayCapabilities> = {}): FakeGateway {
  const calls: string[] = [];
  const { plan, run } = failures(calls);
  const accounts = new Map<string, FakeAccount>();
  let made = 0;
  const account = (held: FakeAccount): Account => ({
    userID: held.id,
    username: held.id,
    enabled: undefined,
    masterKey: undefined,
    apiKey: () => Promise.resolve(new Sensitive(held.key)),
    takeWrites: () => [],
  });
  const fake: FakeGateway = {
    accounts,
    calls,
    verdict: undefined,
    fail: plan,
    capabilities: { tier: false, quota: false, overlap: false, email: false, keyIsFree: true, ...capabilities },
    find: ({ uuid }, signal) =>
      run("find", signal, () => {
        const held = accounts.get(uuid);
        return held === undefined ? undefined : account(held);
      }),
    ensure: (request, signal) =>
      run("ensure", signal, () => {
        const known = accounts.get(request.uuid);
        const held = known ?? { id: `na-${(made += 1)}`, key: `sk-key-${made}`, disabled: false, request };
        accounts.set(request.uuid, held);
        return { account: account(held), created: known === undefined };
      }),
    rotate: ({ uuid }, _userID, signal) =>
      run("rotate", signal, () => {
        const held = accounts.get(uuid);
        if (held === undefined) throw new ConflictError({ code: "AccountGone", message: "It is gone." });
        held.key = `${held.key}-rotated`;
        return new Sensitive(held.key);
      }),
    disable: (_userID, uuid, signal) => run("disable", signal, () => switched(accounts.get(uuid), true)),
    enable: (_userID, uuid, signal) => run("enable", signal, () => switched(accounts.get(uuid), false)),
    verifyKey: (apiKey, signal) =>
      run("verifyKey", signal, () => {
        const held = [...accounts.values()].find((each) => each.key === apiKey.reveal());
        return fake.verdict ?? (held === undefined ? "dead" : held.disabled ? "disabled" : "works");
      }),
    remove: undefined,
    drifted: () => Promise.resolve([]),
    retire: (_person, signal) => run("retire", signal, () => 0),
    sign: () => undefined,
    isSigned: () => false,
    check: (_expected, signal) => run("check", signal, () => ({ problems: [], unknown: [] })),
  };
  return fake;
}

function switched(held: FakeAccount | undefined, disabled: boolean): boolean {
  if (held !== undefined) held.disabled = disabled;
  return held !== undefined;
}
