import { decide } from "../saga/decide.ts";
import { patched } from "../saga/row.ts";
import type { Claim } from "../store/claims.ts";
import { perform } from "./perform.ts";
import { say } from "./say.ts";
import { look, view } from "./sight.ts";
import { asSagaError, type ClaimDeps, type End, GivenAway, LeaseLost, tell, type Work } from "./work.ts";

export type { ClaimDeps } from "./work.ts";

/**
 * Takes one claimed row as far as it goes: look, decide, perform, again; then says how it ended on the object and lets
 * the claim go. `lost`: somebody else has the row now, and what was under way here may come late. Never throws for what a
 * neighbour did; throws when Postgres fails (the lease then ends by itself).
 */
export async function processClaim(deps: ClaimDeps, claim: Claim, signal: AbortSignal): Promise<"ended" | "lost"> {
  const before = claim.row.state;
  const work: Work = { deps, signal, claim, object: undefined, heir: undefined, audit: [], carry: {} };
  try {
    await run(work);
    return "ended";
  } catch (error) {
    if (error instanceof GivenAway) return "ended";
    if (error instanceof LeaseLost) return "lost";
    throw error;
  } finally {
    if (work.audit.length > 0) deps.keepAudit(work.audit);
    const { state, tenantID } = work.claim.row;
    if (state !== before) deps.counted(tenantID);
  }
}

async function run(work: Work): Promise<void> {
  for (;;) {
    const seen = await see(work);
    if (seen === undefined) return;
    const end = await perform(work, seen.action, seen.sight);
    if (end === "goOn") continue;
    await settle(work, end, seen.sight);
    return;
  }
}

/** Looks and decides. Undefined: the API server did not let us look, and the row was given back for later. */
async function see(work: Work) {
  try {
    const sight = await look(work);
    return { sight, action: decide(await view(work, sight), new Date(work.deps.clock.now())) };
  } catch (error) {
    const failure = asSagaError(error, "kubernetes");
    // Not this saga's failure: nothing is counted, nothing is said.
    tell(work, "postponed", "warn", failure.message, { code: failure.code });
    const pause = work.signal.aborted ? 0 : 1000 + work.deps.random() * 4000;
    await letGo(work, { patch: {}, dueAt: new Date(work.deps.clock.now() + pause), situation: undefined, events: [] });
    return undefined;
  }
}

/** Says it on the object first, then records and lets go: a cut in between says it again, and differs in nothing. */
async function settle(work: Work, end: End, sight: Parameters<typeof say>[3]): Promise<void> {
  const said =
    end.situation === undefined || (await say(work, patched(work.claim.row, end.patch), end.situation, sight));
  // Also one who is suspended or stalled may be deleted: what then happens to the accounts stands in the row.
  const policy = sight.kind === "present" ? { deletionPolicy: sight.desired.deletionPolicy } : {};
  // A status that could not be written is the rest of this work: again in a second.
  const dueAt = said ? end.dueAt : new Date(work.deps.clock.now() + 1000);
  await letGo(work, { ...end, patch: { ...policy, ...end.patch }, dueAt });
  if (end.frees === true) work.deps.released(work.claim.row.tenantID);
  if (end.situation?.kind === "ready" && end.events.length > 0) tell(work, "ready", "info", "Everything is in place.");
}

async function letGo(work: Work, { patch, dueAt, events }: End): Promise<void> {
  const recorded = await work.deps.record(work.claim, { patch, lease: { dueAt }, audit: work.audit, events });
  work.audit = [];
  if (recorded === undefined) throw new LeaseLost();
  work.claim = recorded;
}
