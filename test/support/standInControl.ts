import type { FaultOrder } from "../../stack/newapi/faults.ts";
import type { Entry } from "../../stack/newapi/journal.ts";
import type { Settings } from "../../stack/newapi/newApi/settings.ts";

export interface StandInUser {
  readonly user_id: string;
  readonly external_id: string;
  readonly email: string;
  readonly tenant_id: string;
  readonly tier: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly created_at: string;
  readonly disabled: boolean;
  readonly exhausted: boolean;
  /** Keys that were not replaced; a disabled user's keys count. */
  readonly liveKeys: number;
  readonly keySHA256: readonly string[];
}

export interface NewApiUser {
  readonly id: number;
  readonly username: string;
  readonly display_name: string;
  readonly status: number;
  readonly group: string;
  readonly quota: number;
  readonly remark?: string;
  readonly DeletedAt: string | null;
  /** Names of the tokens that are alive. */
  readonly tokens: readonly string[];
  readonly keySHA256: readonly string[];
  readonly sessions: number;
}

/** The gateway's stand-in from a test's side, in this process or another: `/_/...` as functions. */
export interface StandInControl {
  /** Answers the fault's id. */
  fault(order: FaultOrder): Promise<string>;
  /** One fault, or all. */
  heal(id?: string): Promise<void>;
  users(): Promise<readonly StandInUser[]>;
  journal(since?: number): Promise<readonly Entry[]>;
  /** From now on `GET /v1/models` says that this user's quota is used up. */
  exhaust(externalID: string, status?: 402 | 429): Promise<void>;
  /** As if an operator had deleted the account by hand. */
  removeUser(userID: string): Promise<void>;
  /** Dialect new-api: its users but root and admin. */
  newApiUsers(): Promise<readonly NewApiUser[]>;
  /** Dialect new-api: how it is set up, and its traps. */
  newApi(settings: Partial<Settings>): Promise<void>;
  /** No users, no journal, no faults. */
  reset(): Promise<void>;
}

export function standInControl(url: string): StandInControl {
  async function ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const answer = await fetch(`${url}/_/${path}`, { method, body: body === undefined ? null : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} /_/${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  }
  return {
    fault: async (order) => String((await ask("POST", "faults", order))["id"]),
    async heal(id) {
      await ask("DELETE", id === undefined ? "faults" : `faults/${id}`);
    },
    users: async () => (await ask("GET", "state"))["users"] as StandInUser[],
    journal: async (since = 0) => (await ask("GET", `journal?since=${since}`))["entries"] as Entry[],
    async exhaust(externalID, status = 429) {
      await ask("POST", "quota", { external_id: externalID, exhausted: true, status });
    },
    async removeUser(userID) {
      await ask("DELETE", `users/${userID}`);
    },
    newApiUsers: async () => (await ask("GET", "newapi"))["users"] as NewApiUser[],
    async newApi(settings) {
      await ask("POST", "newapi", settings);
    },
    async reset() {
      await ask("POST", "reset");
    },
  };
}
