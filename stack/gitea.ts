/** A small client for Gitea's API, as the stack's administrator: what onboarding needs of it. */
import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import type { StackEnv } from "./env.ts";

export interface Account {
  readonly login: string;
  readonly password: string;
}

export interface Gitea {
  /** Makes the organisation, unless it is there. */
  org(name: string): Promise<void>;
  /** Makes the account, or gives it its password again: the same one on every call. */
  user(login: string): Promise<Account>;
  /** Makes a private, empty repository, unless it is there. */
  repository(org: string, name: string): Promise<void>;
  collaborator(org: string, name: string, login: string, permission: "read" | "write"): Promise<void>;
  /** A fresh token under this name; an earlier one of the name ends. */
  token(account: Account, name: string, scopes: readonly string[]): Promise<string>;
}

const CALL_MS = 10_000;

export function makeGitea(env: StackEnv): Gitea {
  async function call(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    options: { readonly body?: object; readonly as?: Account; readonly also?: readonly number[] } = {},
    tries = 20,
  ): Promise<{ status: number; body: unknown }> {
    const { body, as, also = [] } = options;
    const basic = as && Buffer.from(`${as.login}:${as.password}`).toString("base64");
    const answer = await fetch(`${env.GITEA_URL}/api/v1${path}`, {
      method,
      headers: {
        authorization: basic === undefined ? `token ${env.GITEA_TOKEN}` : `Basic ${basic}`,
        "content-type": "application/json",
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_MS),
    });
    const text = await answer.text();
    // Several tenants are made side by side, and one writer is all that SQLite has: nothing was done, so again.
    if (answer.status === 500 && text.includes("database is locked") && tries > 1) {
      await sleep(250);
      return call(method, path, options, tries - 1);
    }
    if (!answer.ok && !also.includes(answer.status)) {
      throw new Error(`Gitea answered ${answer.status} to ${method} ${path}: ${text.slice(0, 200)}`);
    }
    return { status: answer.status, body: text === "" || !answer.ok ? undefined : JSON.parse(text) };
  }

  return {
    async org(name) {
      if ((await call("GET", `/orgs/${name}`, { also: [404] })).status !== 404) return;
      await call("POST", "/orgs", { body: { username: name, visibility: "private" } });
    },

    async user(login) {
      // Derived, not kept: whoever asks again, also after a run that was cut off, has the same account.
      const password = createHmac("sha256", env.GITEA_ADMIN_PASSWORD).update(login).digest("hex").slice(0, 32);
      const settings = { login_name: login, source_id: 0, password, must_change_password: false };
      if ((await call("GET", `/users/${login}`, { also: [404] })).status === 404) {
        await call("POST", "/admin/users", {
          body: { ...settings, username: login, email: `${login}@git.example`, visibility: "limited" },
        });
      } else {
        await call("PATCH", `/admin/users/${login}`, { body: settings });
      }
      return { login, password };
    },

    async repository(org, name) {
      if ((await call("GET", `/repos/${org}/${name}`, { also: [404] })).status !== 404) return;
      await call("POST", `/orgs/${org}/repos`, {
        body: { name, private: true, auto_init: false, default_branch: "main" },
      });
    },

    async collaborator(org, name, login, permission) {
      await call("PUT", `/repos/${org}/${name}/collaborators/${login}`, { body: { permission } });
    },

    async token(account, name, scopes) {
      const tokens = `/users/${account.login}/tokens`;
      await call("DELETE", `${tokens}/${name}`, { as: account, also: [404] });
      const { body } = await call("POST", tokens, { as: account, body: { name, scopes } });
      return z.object({ sha1: z.string() }).parse(body).sha1;
    },
  };
}
