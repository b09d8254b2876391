import type { Cluster } from "../../kube/cluster.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { sameJSON } from "../../saga/revision.ts";
import type { TenantStore } from "../../store/tenants.ts";
import { type KnownTenant, sameButStatus, UNUSED } from "./known.ts";
import type { Registry } from "./registry.ts";
import type { RequestQueue } from "./requests.ts";
import { hasReady, type TenantStatusWriter } from "./status.ts";

export interface RefreshDeps {
  readonly cluster: Pick<Cluster, "getTenant">;
  readonly store: Pick<TenantStore, "tenantUsage">;
  readonly registry: Registry;
  readonly requests: RequestQueue;
  readonly status: TenantStatusWriter;
  readonly clock: Clock;
  readonly log: Log;
}

/** Of one Tenant each: its people are counted, or its status, which somebody else wrote, is read. */
export function makeTenantRefresh(deps: RefreshDeps) {
  const { cluster, store, registry, requests, status, clock, log } = deps;

  async function refresh(each: KnownTenant, isMoved: boolean, isCount: boolean, signal: AbortSignal): Promise<void> {
    if (isMoved && !(await reread(each, signal))) {
      // Counted once it is loaded again.
      if (isCount) requests.count(each);
      return;
    }
    const id = each.acceptance.accepted?.tenantID;
    if (id !== undefined) each.usage = (await store.tenantUsage(id)).get(id) ?? UNUSED;
    if (isCount) await status.write(each, "counts", signal);
  }

  /** False: it is another one by now, which the watch tells of as well. */
  async function reread(each: KnownTenant, signal: AbortSignal): Promise<boolean> {
    const before = each.tenant;
    const tenant = await cluster.getTenant(before.metadata.name, signal);
    if (tenant === undefined || !sameButStatus(tenant.metadata, before.metadata)) return false;
    // Whoever read it meanwhile has it as new, or the watch will tell.
    if (each.tenant === before) each.tenant = tenant;
    // Another replica knows already that something else is in force.
    if (!sameJSON(tenant.status?.accepted, each.acceptance.accepted)) requests.reload();
    // What it found stands there until this one asks again in its turn: two that find different things would argue else.
    if (!hasReady(tenant.status)) each.checkAt = 0;
    return true;
  }

  /** Begins what is due. None of it rejects. */
  return function startDue(signal: AbortSignal): readonly Promise<void>[] {
    return [...registry.known.values()].flatMap((each) => {
      const isMoved = each.seenVersion !== undefined && each.seenVersion !== each.tenant.metadata.resourceVersion;
      const isCount = each.countAt !== undefined && each.countAt <= clock.now();
      each.seenVersion = undefined;
      if (!isMoved && !isCount) return [];
      if (isCount) each.countAt = undefined;
      return refresh(each, isMoved, isCount, signal).catch((error: unknown) =>
        log.debug("failed to refresh a Tenant; the next load does", { error }),
      );
    });
  };
}
