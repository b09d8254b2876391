import * as z from "zod";

import type { Account, Accounts } from "./accounts.ts";
import { type Call, json, jsonBody, refusal, type Reply, segment, type Surface } from "./exchange.ts";

const USERS = "/api/v1/admin/users";
const ONE_USER = /^\/api\/v1\/admin\/users\/([^/]+)\/(keys\/rotate|disable|enable)$/;

const createBody = z.object({
  external_id: z.string().min(1).max(255),
  email: z.string().regex(/^[^@\s]+@[^@\s]+$/),
  tenant_id: z.string().min(1),
  tier: z.string().min(1),
  metadata: z.record(z.string(), z.unknown()).default({}),
});

/**
 * Dialect admin-v1: accounts by external id, one key each. A repeated create answers 409 whatever its idempotency key
 * says; the caller finds its account by external id.
 */
export function adminV1(accounts: Accounts, adminToken: string): Surface {
  function answer(call: Call): Reply | undefined {
    if (!call.path.startsWith("/api/v1/admin/")) return undefined;
    if (call.bearer !== adminToken) return refusal(401, "unauthorized", "The admin token is missing or wrong.");
    if (call.path === USERS) {
      if (call.method === "POST") return create(call);
      if (call.method === "GET") return find(call);
      return refusal(405, "method_not_allowed", "Only GET and POST here.");
    }
    const [, encodedID, verb] = ONE_USER.exec(call.path) ?? [];
    if (verb === undefined) return refusal(404, "no_such_route", "There is nothing at this path.");
    if (call.method !== "POST") return refusal(405, "method_not_allowed", "Only POST here.");
    return change(segment(encodedID) ?? "", verb);
  }

  function create(call: Call): Reply {
    if (call.idempotencyKey === undefined || call.idempotencyKey === "") {
      return refusal(400, "bad_request", "The header X-Idempotency-Key is missing.");
    }
    const body = createBody.safeParse(jsonBody(call));
    if (!body.success) {
      const field = body.error.issues[0]?.path.join(".") ?? "";
      return refusal(
        400,
        "bad_request",
        field === "" ? "The body is no JSON object." : `${field} is missing or wrong.`,
      );
    }
    const { external_id: externalID, email, tenant_id: tenantID, tier, metadata } = body.data;
    const account = accounts.create({ externalID, email, tenantID, tier, metadata });
    if (account === undefined) return refusal(409, "user_exists", "A user with this external_id exists.");
    return json(201, { user_id: account.userID, api_key: keyOf(account), created_at: account.createdAt });
  }

  function find(call: Call): Reply {
    const externalID = call.query.get("external_id") ?? "";
    if (externalID === "") return refusal(400, "bad_request", "external_id is missing.");
    const account = accounts.byExternalID(externalID);
    if (account === undefined) return noSuchUser();
    return json(200, {
      user_id: account.userID,
      external_id: account.externalID,
      email: account.email,
      tenant_id: account.tenantID,
      tier: account.tier,
      api_key: keyOf(account),
      created_at: account.createdAt,
    });
  }

  function change(userID: string, verb: string): Reply {
    if (verb === "keys/rotate") {
      const account = accounts.rotate(userID);
      return account === undefined ? noSuchUser() : json(200, { api_key: keyOf(account) });
    }
    const disabled = verb === "disable";
    const account = accounts.setDisabled(userID, disabled);
    return account === undefined ? noSuchUser() : json(200, { user_id: account.userID, disabled });
  }

  return {
    answer,
    externalIDOf(call) {
      if (call.path === USERS) {
        if (call.method === "GET") return call.query.get("external_id") ?? undefined;
        return z.object({ external_id: z.string() }).safeParse(jsonBody(call)).data?.external_id;
      }
      const userID = segment(ONE_USER.exec(call.path)?.[1]);
      return userID === undefined ? undefined : accounts.byUserID(userID)?.externalID;
    },
  };
}

function keyOf(account: Account): string | undefined {
  return account.apiKeys.at(-1);
}

function noSuchUser(): Reply {
  return refusal(404, "user_not_found", "There is no such user.");
}
