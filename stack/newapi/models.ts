import type { Accounts } from "./accounts.ts";
import { json, refusal, type Surface } from "./exchange.ts";

const MODELS = [
  { id: "stand-in-small", object: "model", created: 1_767_225_600, owned_by: "stand-in" },
  { id: "stand-in-large", object: "model", created: 1_767_225_600, owned_by: "stand-in" },
];

/** What a key opens: `GET /v1/models`, the same for every dialect of the admin API. */
export function models(accounts: Accounts): Surface {
  const holderOf = (apiKey: string | undefined) => (apiKey === undefined ? undefined : accounts.byKey(apiKey));
  return {
    externalIDOf: (call) => (call.path.startsWith("/v1/") ? holderOf(call.bearer)?.externalID : undefined),
    answer(call) {
      if (!call.path.startsWith("/v1/")) return undefined;
      const holder = holderOf(call.bearer);
      if (holder === undefined) return refusal(401, "invalid_api_key", "This API key is not known.");
      if (holder.disabled) return refusal(403, "user_disabled", "This user is disabled.");
      if (holder.exhausted !== undefined) {
        return refusal(holder.exhausted, "insufficient_quota", "This user's quota is used up.");
      }
      if (call.path !== "/v1/models") return refusal(404, "no_such_route", "There is nothing at this path.");
      if (call.method !== "GET") return refusal(405, "method_not_allowed", "Only GET here.");
      return json(200, { object: "list", data: MODELS });
    },
  };
}
