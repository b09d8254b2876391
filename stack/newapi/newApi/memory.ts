import { randomBytes, randomUUID } from "node:crypto";

export interface User {
  readonly id: number;
  readonly username: string;
  password: string;
  displayName: string;
  readonly role: number;
  status: 1 | 2;
  group: string;
  quota: number;
  usedQuota: number;
  remark: string;
  deletedAt: string | null;
  /** The personal access token, if one was made. */
  accessToken: string | undefined;
}

export interface Token {
  readonly id: number;
  readonly userID: number;
  readonly name: string;
  status: number;
  readonly key: string;
}

export const ROOT = 1;
/** Whose token the tenant's credential Secret holds. */
export const ADMIN = 2;

export interface Session {
  /** What is public of it. */
  readonly sid: string;
  readonly userID: number;
}

/** The gateway's tables. Ids are given as SQLite does: the highest plus one, so one that was freed at the end is given again. */
export interface Memory {
  readonly users: Map<number, User>;
  readonly tokens: Map<number, Token>;
  /** By the cookie or bearer. */
  readonly sessions: Map<string, Session>;
  /** How many were begun by this user, ended ones too. */
  begun(userID: number): number;
  addUser(input: Pick<User, "username" | "password" | "displayName" | "role" | "quota">): User;
  addToken(userID: number, name: string): Token;
  addSession(userID: number): Session & { readonly credential: string };
  endSessions(userID: number): void;
  clear(): void;
}

export function makeMemory(adminToken: string): Memory {
  const users = new Map<number, User>();
  const tokens = new Map<number, Token>();
  const sessions = new Map<string, Session>();
  const begun = new Map<number, number>();
  let lastToken = 0;

  const memory: Memory = {
    users,
    tokens,
    sessions,
    addUser(input) {
      const id = Math.max(0, ...users.keys()) + 1;
      const user: User = {
        ...input,
        id,
        status: 1,
        group: "default",
        usedQuota: 0,
        remark: "",
        deletedAt: null,
        accessToken: undefined,
      };
      users.set(id, user);
      return user;
    },
    addToken(userID, name) {
      lastToken += 1;
      const token: Token = { id: lastToken, userID, name, status: 1, key: randomLetters(48) };
      tokens.set(token.id, token);
      return token;
    },
    addSession(userID) {
      const credential = randomBytes(24).toString("base64url");
      const session = { sid: randomUUID(), userID };
      sessions.set(credential, session);
      begun.set(userID, (begun.get(userID) ?? 0) + 1);
      return { ...session, credential };
    },
    begun: (userID) => begun.get(userID) ?? 0,
    endSessions(userID) {
      for (const [credential, session] of sessions) if (session.userID === userID) sessions.delete(credential);
    },
    clear() {
      users.clear();
      tokens.clear();
      sessions.clear();
      begun.clear();
      memory.addUser({ username: "root", password: randomLetters(16), displayName: "Root User", role: 100, quota: 0 });
      const admin = { username: "operator", password: randomLetters(16), displayName: "operator", role: 10, quota: 0 };
      memory.addUser(admin).accessToken = adminToken;
    },
  };
  memory.clear();
  return memory;
}

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

function randomLetters(count: number): string {
  return Array.from(randomBytes(count), (byte) => LETTERS[byte % LETTERS.length]).join("");
}
