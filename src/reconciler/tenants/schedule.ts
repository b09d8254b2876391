import type { Clock, Random } from "../../lib/clock.ts";
import { makeSlots } from "../../lib/slots.ts";
import type { Log } from "../../lib/log.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { blocking, type Checks, conclusive } from "../../saga/tenantReport.ts";
import { originAt, UPSTREAMS } from "../access.ts";
import type { Breakers } from "../breakers.ts";
import type { TenantChecks } from "./checks.ts";
import { checksOf, type KnownTenant, settle } from "./known.ts";
import type { Registry } from "./registry.ts";
import type { RequestQueue } from "./requests.ts";
import { isReady, type TenantStatusWriter } from "./status.ts";

const AT_ONCE = 8;
/** A check that has lasted so long gives its slot up; so many there are at most. */
const PATIENCE_MS = 3_000;
const MOST_CHECKS = 128;
/** Whoever is put off while somebody else asks is called when that one is through; this is for the call that is lost. */
const POSTPONED_MS = 2_000;

export interface ScheduleDeps {
  readonly checks: TenantChecks;
  readonly registry: Registry;
  readonly requests: RequestQueue;
  readonly status: TenantStatusWriter;
  readonly breakers: Pick<Breakers, "ask">;
  /** Called after each check, with what was found. */
  readonly checked: (tenantID: string, results: Checks) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How often a Tenant is checked that is as it should be. */
  readonly recheckMs: number;
  /** How often one that is not. */
  readonly retryMs: number;
  /** How long a check keeps others from theirs. Default 3 s. */
  readonly patienceMs?: number;
}

/** Give or take a tenth. */
export function jittered(ms: number, random: Random): number {
  return ms * (0.9 + random() / 5);
}

/** Checks each Tenant in its turn, and settles what sagas work with by what was found. */
export function makeCheckSchedule(deps: ScheduleDeps) {
  const { checks, registry, requests, status, clock, random, log, recheckMs, retryMs } = deps;
  const slots = makeSlots({ slots: AT_ONCE, patienceMs: deps.patienceMs ?? PATIENCE_MS, most: MOST_CHECKS });

  async function checkOne(each: KnownTenant, signal: AbortSignal): Promise<void> {
    const { candidate } = each;
    if (candidate === undefined || signal.aborted) return;
    const { name, spec, clients, checkKey: key } = candidate;
    const saysReady = isReady(each.tenant.status);
    const asked = checks.check({ name, spec, clients, previous: checksOf(each), saysReady }, signal);
    if (asked === undefined) {
      each.isPostponed = true;
      each.checkAt = clock.now() + jittered(POSTPONED_MS, random);
      return;
    }
    each.isPostponed = false;
    each.isRecheckWanted = false;
    const results = await asked;
    // It is another one by now, or gone: these results are about something else.
    if (each.candidate?.checkKey !== key || registry.known.get(each.tenant.metadata.uid ?? "") !== each) return;
    each.checks = { key, results };
    const isWell = conclusive(results) && blocking(results).length === 0;
    // Behind an open breaker it is called when the upstream is back.
    const pause = isWell || isCalled(spec, results) ? recheckMs : retryMs;
    // What was found may be from before the request.
    each.checkAt = each.isRecheckWanted ? 0 : clock.now() + jittered(pause, random);
    settle(each);
    registry.publish();
    await status.write(each, "all", signal);
    deps.checked(spec.tenantID, results);
  }

  /** Whether all that keeps it from being well is a silence that somebody else will tell the end of. */
  function isCalled(spec: TenantSpec, results: Checks): boolean {
    if (blocking(results).length > 0 || results.kubernetes.kind !== "checked") return false;
    return UPSTREAMS.every(
      (upstream) => results[upstream].kind === "checked" || deps.breakers.ask(originAt(spec, upstream)) !== undefined,
    );
  }

  async function run(each: KnownTenant, signal: AbortSignal): Promise<void> {
    each.checking = true;
    try {
      await slots.run(() => checkOne(each, signal));
    } catch (error) {
      each.checkAt = clock.now() + jittered(retryMs, random);
      if (!signal.aborted) log.error("failed to check a Tenant; retrying", { name: each.tenant.metadata.name, error });
    }
    each.checking = false;
    // Somebody has asked to the end: those who were put off because of that have their turn.
    if (!each.isPostponed) for (const other of registry.known.values()) if (other.isPostponed) other.checkAt = 0;
    requests.notify();
  }

  return {
    /** Begins what is due. None of it rejects. */
    startDue(signal: AbortSignal): readonly Promise<void>[] {
      const due = [...registry.known.values()].filter(
        (each) => each.candidate !== undefined && !each.checking && each.checkAt <= clock.now(),
      );
      return due.map((each) => run(each, signal));
    },
    /** When the next one is due. */
    nextAt: (): number =>
      Math.min(
        ...[...registry.known.values()]
          .filter(({ candidate, checking }) => candidate !== undefined && !checking)
          .map(({ checkAt }) => checkAt),
      ),
  };
}
