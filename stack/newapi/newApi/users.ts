import * as z from "zod";

import { type Call, jsonBody, type Reply } from "../exchange.ts";
import { failure, NOTHING, success } from "./answers.ts";
import { type Memory, ROOT, type User } from "./memory.ts";
import type { Settings } from "./settings.ts";

const created = z.object({
  username: z.string().transform((name) => name.trim()),
  password: z.string(),
  display_name: z.string().optional(),
  role: z.int().optional(),
});
const updated = z.object({
  id: z.int(),
  username: z.string(),
  display_name: z.string().default(""),
  group: z.string().default(""),
  remark: z.string().default(""),
  quota: z.int().default(0),
  password: z.string().default(""),
});
const managed = z.object({
  id: z.int().default(0),
  action: z.string(),
  mode: z.string().default("add"),
  value: z.int().default(0),
});

/** What an admin may do with accounts, as the running gateway answered it. */
export function usersAPI(
  memory: Memory,
  settings: () => Settings,
  use: (trap: "codeCollisions" | "locked") => boolean,
) {
  const { users, tokens } = memory;
  const living = (id: number) => {
    const user = users.get(id);
    return user?.deletedAt === null ? user : undefined;
  };

  const newest = () => settings().generation === "2026-08";
  const oldest = () => settings().generation === "2026-02";
  const LOCKED = failure("database is locked (5) (SQLITE_BUSY)");

  function create(call: Call): Reply {
    const body = created.safeParse(jsonBody(call)).data;
    if (body === undefined) return failure("Invalid parameters");
    const { username, password, display_name: displayName = username } = body;
    const wrong =
      length(username) === 0
        ? tag("Username", "required")
        : length(username) > 20
          ? tag("Username", "max")
          : length(password) < 8
            ? tag("Password", "min")
            : length(password) > 20
              ? tag("Password", "max")
              : length(displayName) > 20
                ? tag("DisplayName", "max")
                : undefined;
    if (wrong !== undefined) return failure(wrong);
    if ((body.role ?? 1) >= 10) return failure("insufficient privileges");
    if (use("locked")) return LOCKED;
    if (use("codeCollisions")) return failure(unique("aff_code"));
    if ([...users.values()].some((user) => user.username === username)) return failure(unique("username"));
    memory.addUser({ username, password, displayName, role: body.role ?? 1, quota: settings().quotaForNewUser });
    return success();
  }

  function unique(column: string): string {
    return settings().database === "sqlite"
      ? `constraint failed: UNIQUE constraint failed: users.${column} (2067)`
      : `ERROR: duplicate key value violates unique constraint "users_${column}_key" (SQLSTATE 23505)`;
  }

  function search(call: Call): Reply {
    const keyword = call.query.get("keyword") ?? "";
    const status = Number(call.query.get("status") ?? 0);
    const fold = (text: string) => (settings().database === "sqlite" ? text.toLowerCase() : text);
    const like = new RegExp(
      Array.from(fold(keyword))
        .map((c) => (c === "%" ? ".*" : c === "_" ? "." : c.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&")))
        .join(""),
      "su",
    );
    const found = [...users.values()].filter(
      (user) =>
        (like.test(fold(user.username)) || like.test(fold(user.displayName)) || String(user.id) === keyword) &&
        (status === 0 || (status === -1 ? user.deletedAt !== null : user.deletedAt === null && user.status === status)),
    );
    return success(paged(call, found.toSorted((a, b) => b.id - a.id).map(shown)));
  }

  /** All of them, deleted ones too. */
  function list(call: Call): Reply {
    return success(paged(call, [...users.values()].toSorted((a, b) => b.id - a.id).map(shown)));
  }

  function one(id: number): Reply {
    if (id === 0) return failure("id 为空！");
    const user = living(id);
    return user === undefined ? failure("record not found") : success(shown(user));
  }

  function update(call: Call): Reply {
    const body = updated.safeParse(jsonBody(call)).data;
    if (body === undefined) return failure("Invalid parameters");
    const user = living(body.id);
    if (user === undefined) return failure("record not found");
    if (user.role >= 10) return failure("insufficient privileges");
    if (length(body.display_name) > 20) return failure(tag("DisplayName", "max"));
    if (length(body.remark) > 255) return failure(tag("Remark", "max"));
    if (body.password !== "" && length(body.password) < 8) return failure(tag("Password", "min"));
    if (use("locked")) return LOCKED;
    const ends = newest() && (body.group !== user.group || body.password !== "");
    user.displayName = body.display_name;
    user.group = body.group;
    user.remark = body.remark;
    if (oldest()) user.quota = body.quota;
    if (body.password !== "") user.password = body.password;
    if (ends) memory.endSessions(user.id);
    return success();
  }

  /** Without an id it is the first user's turn: the root's. */
  function manage(call: Call): Reply {
    const body = managed.safeParse(jsonBody(call)).data;
    if (body === undefined) return failure("Invalid parameters");
    const user = body.id === 0 ? users.get(ROOT) : living(body.id);
    if (use("locked")) return LOCKED;
    if (body.action === "add_quota" && !oldest()) {
      if (user === undefined) return success();
      if (newest() && body.mode === "override" && body.value < 0) return failure("Invalid parameters");
      user.quota =
        body.mode === "override" ? body.value : user.quota + (body.mode === "subtract" ? -body.value : body.value);
      return success();
    }
    // The oldest writes the fields that it has, which are none, to nobody.
    if (user === undefined) return oldest() ? success({ role: 0, status: 0 }) : failure("record not found");
    switch (body.action) {
      case "disable":
        if (user.role === 100) return failure("无法禁用超级管理员用户");
        user.status = 2;
        if (newest()) memory.endSessions(user.id);
        break;
      case "enable":
        user.status = 1;
        break;
      case "delete":
        if (user.role === 100) return failure("无法删除超级管理员用户");
        user.deletedAt = new Date().toISOString();
        // It is done; one of them says that it is not.
        if (oldest()) break;
        return newest() ? success() : failure("record not found");
      default:
        return newest() ? failure("Invalid parameters") : success({ role: user.role, status: user.status });
    }
    return success({ role: user.role, status: user.status });
  }

  function remove(id: number): Reply {
    const user = living(id);
    if (user === undefined) return failure("record not found");
    if (user.role >= 10) return failure("insufficient privileges");
    users.delete(id);
    if (newest()) {
      memory.endSessions(id);
      for (const token of tokens.values()) if (token.userID === id) tokens.delete(token.id);
    }
    return oldest() ? NOTHING : success();
  }

  return { create, search, list, one, update, manage, remove };
}

export function shown(user: User): Record<string, unknown> {
  return {
    id: user.id,
    username: user.username,
    password: "",
    display_name: user.displayName,
    role: user.role,
    status: user.status,
    email: "",
    group: user.group,
    quota: user.quota,
    used_quota: user.usedQuota,
    request_count: 0,
    oidc_id: "",
    ...(user.remark === "" ? {} : { remark: user.remark }),
    DeletedAt: user.deletedAt,
  };
}

/** `?p=1&page_size=10`, at most 100. */
export function paged(call: Call, all: readonly unknown[]): Record<string, unknown> {
  const page = Math.max(1, Number(call.query.get("p") ?? 1) || 1);
  const size = Math.min(100, Math.max(1, Number(call.query.get("page_size") ?? 10) || 10));
  return { page, page_size: size, total: all.length, items: all.slice((page - 1) * size, page * size) };
}

const length = (text: string): number => Array.from(text).length;
const tag = (field: string, name: string): string =>
  `Invalid input Key: 'User.${field}' Error:Field validation for '${field}' failed on the '${name}' tag`;
