import pLimit from "p-limit";
import { REASON } from "../../api/reasons.ts";
import type { Cluster, ListedTenant } from "../../kube/cluster.ts";
import type { Log } from "../../lib/log.ts";
import { accept, type Acceptance, type Claimant, claimant, realmKey } from "../../saga/accept.ts";
import { checkKey, revision } from "../../saga/revision.ts";
import type { StoredTenant, TenantStore, TenantUsage } from "../../store/tenants.ts";
import type { ClientFactories } from "./clients.ts";
import type { Credentials } from "./credentials.ts";
import { type KnownTenant, makeKnown, settle, UNUSED } from "./known.ts";
import type { Progress } from "./progress.ts";
import type { Registry } from "./registry.ts";
import type { TenantStatusWriter } from "./status.ts";

const AT_ONCE = 8;

export interface LoadDeps {
  readonly cluster: Pick<Cluster, "listTenants">;
  readonly store: Pick<TenantStore, "loadTenants" | "tenantUsage" | "removeTenant">;
  readonly credentials: Pick<Credentials, "read">;
  readonly factories: ClientFactories;
  readonly registry: Registry;
  readonly status: TenantStatusWriter;
  readonly progress: Progress;
  readonly log: Log;
}

/** The tenants' records in Postgres. */
interface Snapshot {
  readonly mirror: readonly StoredTenant[];
  readonly uses: ReadonlyMap<string, TenantUsage>;
}

/** Reads all Tenants at once, and settles which spec of each is in force. */
export function makeTenantLoad(deps: LoadDeps) {
  const { cluster, store, credentials, registry, status, progress, log } = deps;
  const { known } = registry;
  const limit = pLimit(AT_ONCE);
  /** Those whose spec does not fit, by uid, and why. */
  const unreadable = new Map<string, string>();
  let listAnswers = true;
  let storeAnswers = true;

  /** Throws when they cannot be listed: then everything stays as it is. Returns the errors of those that failed alone. */
  async function loadAll(signal: AbortSignal): Promise<ReadonlyMap<KnownTenant, unknown>> {
    const tenants = await cluster.listTenants(signal);
    const snapshot = await readSnapshot();
    const acceptances = accept(
      tenants.flatMap((tenant) => claimantOf(tenant, snapshot) ?? []),
      snapshot,
    );
    for (const tenant of tenants) noteUnreadable(tenant, acceptances);

    const gone = [...known].filter(([uid]) => !acceptances.has(uid));
    for (const [uid] of gone) {
      known.delete(uid);
      unreadable.delete(uid);
    }
    for (const tenant of tenants) upsert(tenant, acceptances, snapshot);
    const living = [...known.values()];
    const accepted = living.flatMap(({ acceptance }) => acceptance.accepted ?? []);
    const inRealm = Map.groupBy(accepted, realmKey);
    const failures = new Map<KnownTenant, unknown>();

    /** What goes wrong with one Tenant is its own: it stays as it was, is loaded again, and the others resume. */
    const isolated = async (each: KnownTenant, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        failures.set(each, error);
        const { name } = each.tenant.metadata;
        log.error("failed to load a Tenant; it stays as it was", { name, error });
      }
    };

    await limit.map(living, (each) =>
      isolated(each, async () => {
        await prepare(each, (key) => (inRealm.get(key)?.length ?? 0) < 2, signal);
        settle(each);
      }),
    );
    registry.publish();

    if (snapshot !== undefined) await removeMirrors(snapshot, acceptances);
    for (const [, each] of gone) status.notifyGone(each);
    await limit.map(living, (each) => isolated(each, () => status.write(each, "findings", signal)));
    // What fails for all is about none of them.
    const [[, failure] = []] = failures;
    if (failures.size > 1 && failures.size === living.length) throw failure;
    return failures;
  }

  async function readSnapshot(): Promise<Snapshot | undefined> {
    try {
      const snapshot = { mirror: await store.loadTenants(), uses: await store.tenantUsage() };
      if (!storeAnswers) log.info("read the tenants' records again");
      storeAnswers = true;
      return snapshot;
    } catch (error) {
      if (storeAnswers) log.warn("failed to read the tenants' records; what was accepted stays in force", { error });
      storeAnswers = false;
      return undefined;
    }
  }

  /** Without Postgres, accepted is what this process works with already, or else what the Tenant's status says. */
  function claimantOf(tenant: ListedTenant, snapshot: Snapshot | undefined): Claimant | undefined {
    const each = claimant(tenant);
    if (tenant.unreadable !== undefined) {
      const accepted =
        snapshot?.mirror.find(({ objectUID }) => objectUID === each.uid)?.accepted ??
        known.get(each.uid)?.acceptance.accepted ??
        each.accepted;
      return accepted === undefined ? undefined : { ...each, spec: accepted, accepted };
    }
    const inForce = snapshot === undefined ? known.get(each.uid)?.acceptance.accepted : undefined;
    return inForce === undefined ? each : { ...each, accepted: inForce };
  }

  /** It says so, as of any other change that is not taken over; nothing of it was in force: nothing is. */
  function noteUnreadable(tenant: ListedTenant, acceptances: Map<string, Acceptance>): void {
    const { uid = "", name } = tenant.metadata;
    if (tenant.unreadable === undefined) {
      unreadable.delete(uid);
      return;
    }
    const { accepted, refusals } = acceptances.get(uid) ?? { accepted: undefined, refusals: [] };
    const message =
      accepted === undefined
        ? tenant.unreadable
        : `${tenant.unreadable} Until then the last accepted spec stays in force.`;
    acceptances.set(uid, { accepted, refusals: [{ reason: REASON.InvalidSpec, message }, ...refusals] });
    if (unreadable.get(uid) !== message) log.error("failed to read a Tenant; the others are loaded", { name, message });
    unreadable.set(uid, message);
  }

  function upsert(tenant: ListedTenant, acceptances: ReadonlyMap<string, Acceptance>, snapshot: Snapshot | undefined) {
    const { uid = "" } = tenant.metadata;
    const acceptance = acceptances.get(uid) ?? { accepted: undefined, refusals: [] };
    const id = acceptance.accepted?.tenantID;
    const before = known.get(uid);
    const observation = {
      tenant,
      acceptance,
      usage: snapshot === undefined ? undefined : ((id === undefined ? undefined : snapshot.uses.get(id)) ?? UNUSED),
      mirrored:
        snapshot === undefined
          ? before?.mirrored
          : snapshot.mirror.find((entry) => entry.objectUID === uid && entry.tenantID === id),
    };
    if (before === undefined) known.set(uid, makeKnown(observation, deps.factories));
    else Object.assign(before, observation);
  }

  async function prepare(each: KnownTenant, isAloneIn: (realm: string) => boolean, signal: AbortSignal): Promise<void> {
    progress.moved();
    const { accepted } = each.acceptance;
    if (accepted === undefined) {
      each.candidate = undefined;
      return;
    }
    const found = await credentials.read(accepted, signal);
    const key = checkKey(accepted, found.versions);
    if (each.candidate?.checkKey !== key) each.checkAt = 0;
    each.candidate = {
      name: each.tenant.metadata.name,
      deleting: each.tenant.metadata.deletionTimestamp !== undefined,
      spec: accepted,
      revision: revision(accepted, found.versions),
      checkKey: key,
      clients: each.clientsFor(accepted, found),
      realmIsExclusive: isAloneIn(realmKey(accepted)) && each.mirrored?.isRealmShared !== true,
    };
  }

  /** Mirrors of Tenants that are gone or have another id by now; before any is written, for ids and names are unique. */
  async function removeMirrors({ mirror }: Snapshot, acceptances: ReadonlyMap<string, Acceptance>): Promise<void> {
    for (const { tenantID, objectUID, name } of mirror) {
      if (acceptances.get(objectUID)?.accepted?.tenantID === tenantID) continue;
      await store.removeTenant(tenantID, objectUID).catch((error: unknown) => {
        log.warn("failed to remove the mirror of a Tenant", { name, error });
      });
    }
  }

  /** Whether all is loaded, and nothing there is soon to change. Never throws. */
  return async function load(signal: AbortSignal): Promise<boolean> {
    let failures: ReadonlyMap<KnownTenant, unknown> = new Map();
    try {
      failures = await loadAll(signal);
      listAnswers = true;
      progress.loaded();
    } catch (error) {
      if (listAnswers && !signal.aborted) log.warn("failed to load the Tenants; keeping the last ones", { error });
      listAnswers = false;
      progress.failed(error);
    }
    const isLeaving = [...known.values()].some(({ tenant }) => tenant.metadata.deletionTimestamp !== undefined);
    return listAnswers && storeAnswers && !isLeaving && failures.size === 0;
  };
}
