import * as z from "zod";

import { type Account, type Accounts, sha256 } from "./accounts.ts";
import { type Call, json, jsonBody, refusal, type Reply, segment } from "./exchange.ts";
import { faultOrder, type Faults } from "./faults.ts";
import type { Journal } from "./journal.ts";
import { settingsOrder } from "./newApi/settings.ts";
import type { NewApi } from "./newApi/surface.ts";

export interface Parts {
  readonly accounts: Accounts;
  readonly journal: Journal;
  readonly faults: Faults;
  readonly newApi: NewApi;
}

const quotaOrder = z.strictObject({
  external_id: z.string(),
  exhausted: z.boolean(),
  /** What `GET /v1/models` answers while it is exhausted. */
  status: z.union([z.literal(402), z.literal(429)]).default(429),
});

/** A user as a test may see it. `liveKeys` counts the keys that were not replaced; `disabled` is said beside it. */
function shown(account: Account): unknown {
  return {
    user_id: account.userID,
    external_id: account.externalID,
    email: account.email,
    tenant_id: account.tenantID,
    tier: account.tier,
    metadata: account.metadata,
    created_at: account.createdAt,
    disabled: account.disabled,
    exhausted: account.exhausted !== undefined,
    liveKeys: account.apiKeys.length,
    keySHA256: account.apiKeys.map(sha256),
  };
}

/** What no gateway has: the paths under `/_/` by which a test looks inside and makes things go wrong. */
export function control(call: Call, { accounts, journal, faults, newApi }: Parts): Reply {
  const [, what = "", rest] = /^\/_\/([a-z]+)(?:\/(.+))?$/.exec(call.path) ?? [];
  const id = segment(rest);
  switch (`${call.method} ${what}${id === undefined ? "" : "/id"}`) {
    case "GET journal": {
      const entries = journal.since(Number(call.query.get("since") ?? 0) || 0);
      return json(200, { entries });
    }
    case "DELETE journal":
      journal.clear();
      return json(200, {});
    case "GET faults":
      return json(200, { faults: faults.all() });
    case "POST faults": {
      const order = faultOrder.safeParse(jsonBody(call));
      if (!order.success) return refusal(400, "bad_request", z.prettifyError(order.error));
      return json(201, { id: faults.add(order.data) });
    }
    case "DELETE faults":
      faults.clear();
      return json(200, {});
    case "DELETE faults/id":
      return faults.remove(id ?? "") ? json(200, {}) : refusal(404, "no_such_fault", "There is no such fault.");
    case "GET state":
      return json(200, { users: accounts.all().map(shown) });
    case "POST quota": {
      const order = quotaOrder.safeParse(jsonBody(call));
      if (!order.success) return refusal(400, "bad_request", z.prettifyError(order.error));
      const holder = accounts.byExternalID(order.data.external_id);
      if (holder === undefined) return refusal(404, "user_not_found", "There is no such user.");
      accounts.setExhausted(holder.userID, order.data.exhausted ? order.data.status : undefined);
      return json(200, {});
    }
    case "DELETE users/id":
      return accounts.remove(id ?? "") === undefined
        ? refusal(404, "user_not_found", "There is no such user.")
        : json(200, {});
    case "GET newapi":
      return json(200, { settings: newApi.settings(), users: newApi.state() });
    case "POST newapi": {
      const order = settingsOrder.safeParse(jsonBody(call));
      if (!order.success) return refusal(400, "bad_request", z.prettifyError(order.error));
      newApi.change(order.data);
      return json(200, {});
    }
    case "POST reset":
      accounts.clear();
      newApi.clear();
      journal.clear();
      faults.clear();
      return json(200, {});
    default:
      return refusal(404, "no_such_route", "There is nothing at this path.");
  }
}
