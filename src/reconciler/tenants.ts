import pLimit from "p-limit";
import { API_VERSION, KINDS, type ObjectMeta } from "../api/meta.ts";
import type { Tenant, TenantSpec } from "../api/tenant.ts";
import type { Cluster, OpenWatch, WatchEvent } from "../kube/cluster.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { accept, type Acceptance, claimant, realmKey } from "../saga/accept.ts";
import { checkKey, revision, sameJSON } from "../saga/revision.ts";
import { blocking, type Checks, conclusive } from "../saga/tenantReport.ts";
import type { StoredTenant, TenantStore, TenantUsage } from "../store/tenants.ts";
import { originAt, type TenantAccess, type TenantRegistry } from "./access.ts";
import { makeAlarm } from "./alarm.ts";
import type { Breakers } from "./breakers.ts";
import { makeCredentials } from "./credentials.ts";
import { checksOf, type KnownTenant, makeKnown, settle, waitsForPeople } from "./knownTenant.ts";
import { sameAccess } from "./tenantAccess.ts";
import { makeTenantChecks } from "./tenantChecks.ts";
import type { ClientFactories } from "./tenantClients.ts";
import { hasReady, makeTenantWriter, type Scope, type WriterDeps } from "./tenantWriter.ts";

/** For those who wait: a Tenant came, went, or is worked with differently from now on. */
export interface TenantChange {
  readonly tenantID: string;
  /** Those it has and those it had. */
  readonly namespaces: readonly string[];
}

export interface Tenants extends TenantRegistry {
  /** Watches and checks until the signal, then resolves. */
  run(signal: AbortSignal): Promise<void>;
  /** Called after the tenant's rows were made due: look again at what waits, and at what is due. */
  onChange(callback: (change: TenantChange) => void): void;
  /** One of this tenant's people is gone for good: what waited for that is looked at. */
  released(tenantID: string): void;
  /** People of this tenant came to another state: soon, and not more often than every few seconds, they are counted. */
  counted(tenantID: string): void;
  /** Ask this tenant's neighbours at once: a call of it was refused. */
  suspect(tenantID: string): void;
  /** The API server refused us something in this namespace: its Tenant is checked at once, and our rights there with it. */
  doubt(namespace: string): void;
  /** A neighbour answers again: those behind it are asked about it, one after the other. */
  recovered(origin: string): void;
  /** Called after each check of a Tenant, with what was found. */
  onChecked(callback: (tenantID: string, results: Checks) => void): void;
  /** Milliseconds since the epoch of the loop's last turn; it turns whatever neighbour is down. */
  lastProgress(): number;
}

export interface TenantDeps extends ClientFactories, WriterDeps {
  readonly cluster: WriterDeps["cluster"] &
    Pick<Cluster, "listTenants" | "getTenant" | "getSecret" | "namespaceActive" | "missingSecretRights">;
  readonly openWatch: OpenWatch;
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly store: TenantStore;
  /** Where the credential Secrets are. */
  readonly operatorNamespace: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How often a Tenant is checked that is as it should be. */
  readonly recheckMs: number;
  /** How often one that is not. Default 5 s. */
  readonly retryMs?: number;
  /** How long after something happened to its users they are counted. Default 3 s. */
  readonly countMs?: number;
}

const TENANTS_PATH = `/apis/${API_VERSION}/${KINDS.Tenant.plural}`;
const RETRY_MS = 5_000;
/** Events come in bunches: one look serves them all. */
const COALESCE_MS = 200;
/** The longest the loop sleeps: its turns prove that it lives. */
const IDLE_MS = 2_000;
const AT_ONCE = 8;
/** Whoever is put off while somebody else asks is called when that one is through; this is for the call that is lost. */
const POSTPONED_MS = 2_000;
/** The pace at which the Tenants behind a neighbour that is back are checked. */
const RECOVERY_PACE_MS = 20;
/** The most often that a tenant's users are counted because of what happens to them. */
const COUNT_EVERY_MS = 3_000;
const NEIGHBOURS = ["keycloak", "newapi"] as const;

interface Ledger {
  readonly mirror: readonly StoredTenant[];
  readonly uses: ReadonlyMap<string, TenantUsage>;
}

const UNUSED: TenantUsage = { rows: 0, total: 0, byState: {}, namespaces: [] };

/** Keeps the registry of tenants current and the status of Tenants true. Any number of replicas may run it at once. */
export function makeTenants(deps: TenantDeps): Tenants {
  const { cluster, store, clock, log } = deps;
  const retryMs = deps.retryMs ?? RETRY_MS;
  const credentials = makeCredentials({ cluster, namespace: deps.operatorNamespace });
  const checks = makeTenantChecks(deps);
  const writer = makeTenantWriter(deps);
  const looksAtOnce = pLimit(AT_ONCE);
  const checksAtOnce = pLimit(AT_ONCE);
  const alarm = makeAlarm();
  const callbacks: ((change: TenantChange) => void)[] = [];
  const checkCallbacks: ((tenantID: string, results: Checks) => void)[] = [];

  /** By uid. */
  const known = new Map<string, KnownTenant>();
  const checking = new Set<Promise<void>>();
  let byID: ReadonlyMap<string, TenantAccess> = new Map();
  let byNamespace: ReadonlyMap<string, TenantAccess> = new Map();
  let loaded = false;
  let listAnswers = true;
  let ledgerAnswers = true;
  let turnedAt = clock.now();

  /** Takes in all Tenants at once. Throws when they cannot be listed: then everything stays as it is. */
  async function takeIn(signal: AbortSignal): Promise<void> {
    const tenants = await cluster.listTenants(signal);
    const ledger = await readLedger();
    const acceptances = accept(
      tenants.map((tenant) => claimantOf(tenant, ledger)),
      ledger,
    );

    const gone = [...known].filter(([uid]) => !acceptances.has(uid));
    for (const [uid] of gone) known.delete(uid);
    for (const tenant of tenants) meet(tenant, acceptances, ledger);
    const living = [...known.values()];
    const tenantsInRealm = Map.groupBy(
      living.flatMap(({ acceptance: { accepted } }) => (accepted === undefined ? [] : [realmKey(accepted)])),
      (key) => key,
    );
    await looksAtOnce.map(living, (each) => prepare(each, tenantsInRealm, signal));
    for (const each of living) settle(each);
    publishAll();
    loaded = true;

    if (ledger !== undefined) await removeMirrors(ledger, acceptances);
    for (const [, each] of gone) tell(each, undefined);
    await looksAtOnce.map(living, (each) => write(each, "findings", signal));
  }

  async function readLedger(): Promise<Ledger | undefined> {
    try {
      const ledger = { mirror: await store.loadTenants(), uses: await store.tenantUsage() };
      if (!ledgerAnswers) log.info("the tenants' records can be read again");
      ledgerAnswers = true;
      return ledger;
    } catch (error) {
      if (ledgerAnswers) log.warn("the tenants' records cannot be read; what was accepted stays in force", { error });
      ledgerAnswers = false;
      return undefined;
    }
  }

  /** Without Postgres, accepted is what this process works with already, or else what the Tenant's status says. */
  function claimantOf(tenant: Tenant, ledger: Ledger | undefined) {
    const each = claimant(tenant);
    const inForce = ledger === undefined ? known.get(each.uid)?.acceptance.accepted : undefined;
    return inForce === undefined ? each : { ...each, accepted: inForce };
  }

  function meet(tenant: Tenant, acceptances: ReadonlyMap<string, Acceptance>, ledger: Ledger | undefined): void {
    const { uid = "" } = tenant.metadata;
    const acceptance = acceptances.get(uid) ?? { accepted: undefined, refusals: [] };
    const id = acceptance.accepted?.tenantID;
    const before = known.get(uid);
    const sighting = {
      tenant,
      acceptance,
      usage: ledger === undefined ? undefined : ((id === undefined ? undefined : ledger.uses.get(id)) ?? UNUSED),
      mirrored:
        ledger === undefined
          ? before?.mirrored
          : ledger.mirror.find((entry) => entry.objectUID === uid && entry.tenantID === id),
    };
    if (before === undefined) known.set(uid, makeKnown(sighting, deps));
    else Object.assign(before, sighting);
  }

  async function prepare(
    each: KnownTenant,
    tenantsInRealm: ReadonlyMap<string, readonly string[]>,
    signal: AbortSignal,
  ): Promise<void> {
    turnedAt = clock.now();
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
      realmIsExclusive: (tenantsInRealm.get(realmKey(accepted))?.length ?? 0) < 2,
    };
  }

  /** Mirrors of Tenants that are gone or have another id by now; before any is written, for ids and names are unique. */
  async function removeMirrors(ledger: Ledger, acceptances: ReadonlyMap<string, Acceptance>): Promise<void> {
    for (const { tenantID, objectUID, name } of ledger.mirror) {
      if (acceptances.get(objectUID)?.accepted?.tenantID === tenantID) continue;
      await store.removeTenant(tenantID, objectUID).catch((error: unknown) => {
        log.warn("the mirror of a Tenant could not be removed", { name, error });
      });
    }
  }

  function publishAll(): void {
    const living = [...known.values()];
    byID = new Map(
      living.flatMap(({ published }) =>
        published === undefined ? [] : [[published.access.tenantID, published.access]],
      ),
    );
    // By what is granted now, also while an older spec is still worked with: a namespace has one owner at any moment.
    byNamespace = new Map(
      living.flatMap(({ published, acceptance: { accepted } }) =>
        published === undefined ? [] : (accepted?.namespaces ?? []).map((name) => [name, published.access] as const),
      ),
    );
  }

  function write(each: KnownTenant, scope: Scope, signal: AbortSignal): Promise<void> {
    return each.inTurn(async () => {
      if (known.get(each.tenant.metadata.uid ?? "") !== each || signal.aborted) return;
      turnedAt = clock.now();
      const owed = each.owed !== "nothing";
      await writer.record(each, signal);
      const touched = owed && each.owed === "nothing";
      const now = each.published?.access;
      if (touched || !sameAccess(each.announced, now)) tell(each, now);
      await writer.report(each, scope, signal);
    });
  }

  function tell(each: KnownTenant, now: TenantAccess | undefined): void {
    const before = each.announced;
    each.announced = now;
    const tenantID = (now ?? before)?.tenantID;
    if (tenantID === undefined) return;
    const had = before?.spec.namespaces ?? [];
    const has = now === undefined ? [] : [...now.spec.namespaces, ...(each.acceptance.accepted?.namespaces ?? [])];
    for (const callback of callbacks) callback({ tenantID, namespaces: [...new Set([...had, ...has])] });
  }

  function startChecks(signal: AbortSignal): void {
    for (const each of known.values()) {
      if (each.candidate === undefined || each.checking || each.checkAt > clock.now()) continue;
      each.checking = true;
      const run = checksAtOnce(() => checkOne(each, signal))
        .catch((error: unknown) => {
          each.checkAt = clock.now() + jittered(retryMs);
          if (!signal.aborted) log.error("the check of a Tenant broke off", { name: each.tenant.metadata.name, error });
        })
        .finally(() => {
          each.checking = false;
          checking.delete(run);
          if (!each.isPostponed) resume();
          alarm.wake();
        });
      checking.add(run);
    }
  }

  /** Somebody has asked to the end: those who were put off because of that have their turn. */
  function resume(): void {
    for (const each of known.values()) if (each.isPostponed) each.checkAt = 0;
  }

  async function checkOne(each: KnownTenant, signal: AbortSignal): Promise<void> {
    const { candidate } = each;
    if (candidate === undefined || signal.aborted) return;
    const { name, spec, clients, checkKey: key } = candidate;
    const asked = checks.check({ name, spec, clients, previous: checksOf(each) }, signal);
    if (asked === undefined) {
      each.isPostponed = true;
      each.checkAt = clock.now() + jittered(POSTPONED_MS);
      return;
    }
    each.isPostponed = false;
    each.suspected = false;
    const results = await asked;
    // It is another one by now, or gone: these results are about something else.
    if (each.candidate?.checkKey !== key || known.get(each.tenant.metadata.uid ?? "") !== each) return;
    each.checks = { key, results };
    const well = conclusive(results) && blocking(results).length === 0;
    // Behind an open breaker it is called when the neighbour is back.
    const pause = well || isCalled(spec, results) ? deps.recheckMs : retryMs;
    // What was found may be from before the suspicion.
    each.checkAt = each.suspected ? 0 : clock.now() + jittered(pause);
    settle(each);
    publishAll();
    await write(each, "all", signal);
    for (const callback of checkCallbacks) callback(spec.tenantID, results);
  }

  /** Whether all that keeps it from being well is a silence that somebody else will tell the end of. */
  function isCalled(spec: TenantSpec, results: Checks): boolean {
    if (blocking(results).length > 0 || results.kubernetes.kind !== "checked") return false;
    return NEIGHBOURS.every(
      (neighbour) =>
        results[neighbour].kind === "checked" || deps.breakers.ask(originAt(spec, neighbour)) !== undefined,
    );
  }

  function jittered(ms: number): number {
    return ms * (0.9 + deps.random() / 5);
  }

  function suspect(tenantID: string): void {
    const each = withID(tenantID);
    if (each === undefined) return;
    each.suspected = true;
    each.checkAt = 0;
    alarm.wake();
  }

  function withID(tenantID: string): KnownTenant | undefined {
    return [...known.values()].find(({ acceptance }) => acceptance.accepted?.tenantID === tenantID);
  }

  /** Of one Tenant each: its people are counted, or its status, which somebody else wrote, is read. */
  function startRefreshes(signal: AbortSignal): void {
    for (const each of known.values()) {
      const moved = each.heard !== undefined && each.heard !== each.tenant.metadata.resourceVersion;
      const counts = each.countAt !== undefined && each.countAt <= clock.now();
      each.heard = undefined;
      if (!moved && !counts) continue;
      if (counts) each.countAt = undefined;
      const run = refresh(each, { moved, counts }, signal)
        .catch((error: unknown) => log.debug("a Tenant could not be looked at; the next look does", { error }))
        .finally(() => checking.delete(run));
      checking.add(run);
    }
  }

  function countSoon(each: KnownTenant): void {
    each.countAt ??= clock.now() + (deps.countMs ?? COUNT_EVERY_MS);
  }

  async function refresh(
    each: KnownTenant,
    { moved, counts }: { readonly moved: boolean; readonly counts: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    if (moved && !(await reread(each, signal))) {
      // Counted once it is taken in anew.
      if (counts) countSoon(each);
      return;
    }
    const id = each.acceptance.accepted?.tenantID;
    if (id !== undefined) each.usage = (await store.tenantUsage(id)).get(id) ?? UNUSED;
    if (counts) await write(each, "counts", signal);
  }

  /** False: it is another one by now, which the watch tells of as well. */
  async function reread(each: KnownTenant, signal: AbortSignal): Promise<boolean> {
    const before = each.tenant;
    const tenant = await cluster.getTenant(before.metadata.name, signal);
    if (tenant === undefined || !sameButStatus(tenant.metadata, before.metadata)) return false;
    // Whoever read it meanwhile has it as new, or the watch will tell.
    if (each.tenant === before) each.tenant = tenant;
    // Another replica knows already that something else is in force.
    if (!sameJSON(tenant.status?.accepted, each.acceptance.accepted)) alarm.ring();
    // What it found stands there until this one asks again in its turn: two that find different things would argue else.
    if (!hasReady(tenant.status)) each.checkAt = 0;
    return true;
  }

  /** A written status concerns no other Tenant: all of them are looked at for anything else alone. */
  function hear(event: WatchEvent): void {
    const each = event.kind === "modified" ? known.get(event.object.uid ?? "") : undefined;
    if (event.kind !== "modified" || each === undefined || !sameButStatus(event.object, each.tenant.metadata)) {
      alarm.ring();
      return;
    }
    each.heard = event.object.resourceVersion;
    alarm.wake();
  }

  /** Whether all is taken in, and nothing there is soon to change. */
  async function looked(signal: AbortSignal): Promise<boolean> {
    try {
      await takeIn(signal);
      listAnswers = true;
    } catch (error) {
      if (listAnswers && !signal.aborted) log.warn("the Tenants cannot be read; all stays as it is", { error });
      listAnswers = false;
    }
    const leaving = [...known.values()].some(({ tenant }) => tenant.metadata.deletionTimestamp !== undefined);
    return listAnswers && ledgerAnswers && !leaving;
  }

  async function loop(signal: AbortSignal): Promise<void> {
    let lookAt = 0;
    while (!signal.aborted) {
      turnedAt = clock.now();
      if (alarm.takeRing() || turnedAt >= lookAt) {
        const content = await looked(signal);
        lookAt = clock.now() + jittered(content ? deps.recheckMs : retryMs);
      }
      startChecks(signal);
      startRefreshes(signal);
      const checks = [...known.values()].filter(({ candidate, checking: busy }) => candidate !== undefined && !busy);
      const counts = [...known.values()].flatMap(({ countAt }) => countAt ?? []);
      const next = Math.min(lookAt, ...counts, ...checks.map(({ checkAt }) => checkAt)) - clock.now();
      await alarm.sleep(Math.min(Math.max(next, COALESCE_MS), IDLE_MS), COALESCE_MS, signal);
    }
  }

  return {
    get: (tenantID) => byID.get(tenantID),
    byNamespace: (namespace) => byNamespace.get(namespace),
    all: () => [...byID.values()],
    loaded: () => loaded,
    onChange: (callback) => void callbacks.push(callback),
    onChecked: (callback) => void checkCallbacks.push(callback),
    released(tenantID) {
      const each = withID(tenantID);
      if (each === undefined || waitsForPeople(each)) alarm.ring();
    },
    recovered(origin) {
      const behind = [...known.values()].filter(
        ({ candidate }) =>
          candidate !== undefined && NEIGHBOURS.some((neighbour) => originAt(candidate.spec, neighbour) === origin),
      );
      const now = clock.now();
      for (const each of behind) {
        each.checkAt = Math.min(each.checkAt, now + deps.random() * behind.length * RECOVERY_PACE_MS);
      }
      alarm.wake();
    },
    counted(tenantID) {
      const each = withID(tenantID);
      if (each !== undefined) countSoon(each);
    },
    suspect,
    doubt(namespace) {
      const access = byNamespace.get(namespace);
      if (checks.doubt(namespace) && access !== undefined) suspect(access.tenantID);
    },
    lastProgress: () => turnedAt,

    async run(signal) {
      const secretsPath = `/api/v1/namespaces/${encodeURIComponent(deps.operatorNamespace)}/secrets`;
      const watches = [
        deps.openWatch({ path: TENANTS_PATH }, hear),
        deps.openWatch({ path: secretsPath }, (event) => {
          const concerns =
            event.kind === "listed" ? credentials.listed(event.items) : credentials.changed(event.object.name);
          if (concerns) alarm.ring();
        }),
      ];
      await loop(signal);
      await Promise.allSettled([...watches.map((watch) => watch.stop()), ...checking]);
    },
  };
}

/** What people and controllers write beside the status: the spec, the deletion, the finalizers. */
function sameButStatus(a: ObjectMeta, b: ObjectMeta): boolean {
  return (
    a.generation === b.generation &&
    a.deletionTimestamp === b.deletionTimestamp &&
    (a.finalizers ?? []).join() === (b.finalizers ?? []).join()
  );
}
