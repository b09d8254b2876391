import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import { listOf } from "../../../lib/answers.ts";
import { notItsOwn } from "../../classify.ts";
import type { Expected, GatewayProblem, GatewayReport } from "../../gateway.ts";
import { type GatewayApi, RAISE_THE_GLOBAL_LIMIT, RAISE_THE_LIMIT } from "./api.ts";
import { refusal } from "./envelope.ts";
import type { Limits } from "./limits.ts";
import { obstacles } from "./session.ts";

/** Whether users can be made: settings that everybody may read, the admin's rights, the groups. No critical call. */
export async function checkGateway(
  { api, limits }: { readonly api: GatewayApi; readonly limits: Limits },
  { tiers }: Expected,
  signal: AbortSignal,
): Promise<GatewayReport> {
  const looking = "a look at the gateway's settings";
  const answer = await api.as({}, { method: "GET", path: "/api/status" }, looking, signal);
  const obstructed = obstacles(answer);
  if (obstructed === undefined) throw notItsOwn(answer, looking);

  // A search is what only an admin may do; the list of groups is another such.
  const doing = "a look with the admin token";
  const search = "/api/user/search?keyword=unified-rbac-check&group=&p=1&page_size=1";
  const searched = await api.admin({ method: "GET", path: search }, doing, signal);
  if (searched.kind === "refused") throw refusal(searched, doing);
  const listed = await api.admin({ method: "GET", path: "/api/group/" }, doing, signal);
  const groups = listed.kind === "done" ? listOf(z.string()).safeParse(listed.data).data : undefined;
  const missing = groups === undefined ? [] : tiers.filter((tier) => !groups.includes(tier));

  const { kind, limit, windowMs } = limits.state();
  const problems: GatewayProblem[] = [
    ...obstructed.map((message) => ({ reason: REASON.LoginBlocked, message, blocking: true })),
    ...missing.map((tier) => ({
      reason: REASON.MissingTier,
      // The gateway takes any group; a person in one that is not there can use no model.
      message: `The gateway has no group ${JSON.stringify(tier)}; add it to its group ratios, or name another tier in the Tenant.`,
      blocking: true,
    })),
  ];
  if (kind === "limited") {
    problems.push({
      reason: REASON.GatewayLimited,
      message: `The gateway lets about ${limit} logins and key look-ups through in ${inWords(windowMs)}, two of them for each new user, so users wait; ${RAISE_THE_LIMIT}; ${RAISE_THE_GLOBAL_LIMIT}. Nobody is lost meanwhile.`,
      blocking: false,
    });
  }
  return { problems, unknown: kind === "unknown" ? [REASON.GatewayLimited] : [] };
}

function inWords(ms: number): string {
  return ms < 120_000 ? `${Math.ceil(ms / 1000)} seconds` : `${Math.round(ms / 60_000)} minutes`;
}
