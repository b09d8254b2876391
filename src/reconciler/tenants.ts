import pLimit, { type LimitFunction } from "p-limit";
import { API_VERSION, FINALIZER, KINDS } from "../api/meta.ts";
import { REASON } from "../api/reasons.ts";
import type { Tenant } from "../api/tenant.ts";
import type { Cluster, OpenWatch } from "../kube/cluster.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { accept, type Acceptance, claimant, realmKey } from "../saga/accept.ts";
import { checkKey, revision } from "../saga/revision.ts";
import { blocking, changedReadiness, type Checks, conclusive, sameTenantStatus, tenantReport } from "../saga/tenantReport.ts";
import { sameRecord, type StoredTenant, type TenantRecord, type TenantStore, type TenantUsage } from "../store/tenants.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";
import { makeCredentials } from "./credentials.ts";
import { type Candidate, publish, type Published, sameAccess } from "./tenantAccess.ts";
import { makeTenantChecks } from "./tenantChecks.ts";
import { type ClientFactories, makeTenantClients } from "./tenantClients.ts";

/** What changed for those who wait: a Tenant came, went, or is worked with differently. */
export interface TenantChange {
  readonly tenantID: string;
  /** Those it has and those it had. */
  readonly namespaces: readonly string[];
}

export interface Tenants extends TenantRegistry {
  /** Watches and checks until the signal. Resolves then; never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Called after the rows of the tenant were made due: look again at what waits, and at what is due. */
  onChange(callback: (change: TenantChange) => void): void;
  /** Look at all Tenants soon: their use may have changed. */
  look(): void;
  /** Milliseconds since the epoch of the loop's last turn; it turns when every neighbour is down. */
  lastProgress(): number;
}

export interface TenantDeps extends ClientFactories {
  readonly cluster: Pick<
    Cluster,
    | "listTenants"
    | "applyTenantStatus"
    | "setTenantFinalizer"
    | "getSecret"
    | "namespaceActive"
    | "missingSecretRights"
    | "recordEvent"
  >;
  readonly openWatch: OpenWatch;
  readonly store: TenantStore;
  /** Where the credential Secrets are. */
  readonly operatorNamespace: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How often a Tenant is checked that is as it should be. */
  readonly recheckMs: number;
  /** How often one that is not. */
  readonly retryMs?: number;
}

const RETRY_MS = 5_000;
/** Events come in bunches; one look serves them all. */
const COALESCE_MS = 100;
/** The longest the loop sleeps: its turns are the proof that it lives. */
const IDLE_MS = 2_000;
const AT_ONCE = 8;

type Owed = "nothing" | "changed" | "all";

/** One living Tenant, as this process knows it. */
interface Known {
  tenant: Tenant;
  acceptance: Acceptance;
  candidate: Candidate | undefined;
  published: Published | undefined;
  checks: { readonly key: string; readonly results: Checks } | undefined;
  usage: TenantUsage | undefined;
  /** As Postgres has it, as far as we know. */
  mirrored: StoredTenant | undefined;
  /** Rows that have yet to be made due. */
  owed: Owed;
  checkAt: number;
  checking: boolean;
  readonly clientsFor: ReturnType<typeof makeTenantClients>;
  /** Writes about one Tenant follow one another: a late status must not cover a newer one. */
  readonly inTurn: LimitFunction;
}

interface Ledger {
  readonly mirror: readonly StoredTenant[];
  readonly uses: ReadonlyMap<string, TenantUsage>;
}

const NO_USE: TenantUsage = { rows: 0, total: 0, byState: {}, namespaces: [] };

/** Keeps the registry of tenants current, and their Tenants' status true. Any number of replicas may run it at once. */
export function makeTenants(deps: TenantDeps): Tenants {
  const { cluster, store, clock, log } = deps;
  const retryMs = deps.retryMs ?? RETRY_MS;
  const credentials = makeCredentials({ cluster, namespace: deps.operatorNamespace });
  const check = makeTenantChecks({ cluster, clock, log });
  const atOnce = pLimit(AT_ONCE);
  const checksAtOnce = pLimit(AT_ONCE);
  const callbacks: ((change: TenantChange) => void)[] = [];
  const running = new Set<Promise<void>>();

  const known = new Map<string, Known>();
  let byID = new Map<string, TenantAccess>();
  let byNamespace = new Map<string, TenantAccess>();
  let loaded = false;
  let ledgerRead = true;
  let turnedAt = clock.now();
  const bell = makeBell();

  // Looking: what is there, what of it is accepted.

  /** Takes in all Tenants at once. Throws when they cannot be listed: then everything stays as it is. */
  async function takeIn(signal: AbortSignal): Promise<void> {
    const tenants = await cluster.listTenants(signal);
    const ledger = await readLedger();
    const claimants = tenants.map(claimant).map((each) => {
      // Without Postgres, what was accepted is what we worked with, and before that what the Tenant itself says.
      const remembered = ledger === undefined ? known.get(each.uid)?.acceptance.accepted : undefined;
      return remembered === undefined ? each : { ...each, accepted: remembered };
    });
    const acceptances = accept(claimants, ledger);
    const inRealm = Map.groupBy(
      [...acceptances.values()].flatMap(({ accepted }) => (accepted === undefined ? [] : [realmKey(accepted)])),
      (key) => key,
    );

    const gone = [...known].filter(([uid]) => !tenants.some(({ metadata }) => metadata.uid === uid));
    for (const [uid] of gone) known.delete(uid);
    for (const tenant of tenants) {
      const uid = tenant.metadata.uid ?? "";
      remember(uid, tenant, acceptances.get(uid) ?? { accepted: undefined, refusals: [] }, ledger);
    }
    const all = [...known.values()];
    await atOnce.map(all, (each) => prepare(each, inRealm, signal));
    if (ledger !== undefined) await removeMirrors(ledger, acceptances);
    for (const each of all) settle(each);
    rebuild();
    loaded = true;
    for (const [, each] of gone) announce(each.published?.access, undefined);
    await atOnce.map(all, (each) => write(each, { butUsers: true }, signal));
  }

  async function readLedger(): Promise<Ledger | undefined> {
    try {
      const [mirror, uses] = [await store.loadTenants(), await store.tenantUsage()];
      if (!ledgerRead) log.info("the tenants' records can be read again");
      ledgerRead = true;
      return { mirror, uses };
    } catch (error) {
      if (ledgerRead) log.warn("the tenants' records cannot be read; what was accepted stays in force", { error });
      ledgerRead = false;
      return undefined;
    }
  }

  function remember(uid: string, tenant: Tenant, acceptance: Acceptance, ledger: Ledger | undefined): void {
    const before = known.get(uid);
    const id = acceptance.accepted?.tenantID;
    const stored = ledger?.mirror.find((entry) => entry.objectUID === uid && entry.tenantID === id);
    const usage = ledger === undefined ? undefined : ((id === undefined ? undefined : ledger.uses.get(id)) ?? NO_USE);
    if (before === undefined) {
      known.set(uid, {
        tenant,
        acceptance,
        candidate: undefined,
        published: undefined,
        checks: undefined,
        usage,
        mirrored: stored,
        owed: "nothing",
        checkAt: 0,
        checking: false,
        clientsFor: makeTenantClients(deps),
        inTurn: pLimit(1),
      });
      return;
    }
    before.tenant = tenant;
    before.acceptance = acceptance;
    before.usage = usage;
    if (ledger !== undefined) before.mirrored = stored;
  }

  async function prepare(each: Known, inRealm: ReadonlyMap<string, readonly string[]>, signal: AbortSignal) {
    turnedAt = clock.now();
    const { accepted } = each.acceptance;
    if (accepted === undefined) {
      each.candidate = undefined;
      return;
    }
    const held = await credentials.read(accepted, signal);
    const key = checkKey(accepted, held.versions);
    if (each.candidate?.checkKey !== key) each.checkAt = 0;
    each.candidate = {
      name: each.tenant.metadata.name,
      deleting: each.tenant.metadata.deletionTimestamp !== undefined,
      spec: accepted,
      revision: revision(accepted, held.versions),
      checkKey: key,
      clients: each.clientsFor(accepted, held),
      realmIsExclusive: (inRealm.get(realmKey(accepted))?.length ?? 0) < 2,
    };
  }

  /** A mirror whose Tenant is gone, or has another id by now. Before anything is mirrored: names and ids are unique. */
  async function removeMirrors(ledger: Ledger, acceptances: ReadonlyMap<string, Acceptance>): Promise<void> {
    for (const { tenantID, objectUID } of ledger.mirror) {
      if (acceptances.get(objectUID)?.accepted?.tenantID === tenantID) continue;
      await tried("a mirror could not be removed", tenantID, () => store.removeTenant(tenantID, objectUID));
    }
  }

  // Checking.

  function startChecks(signal: AbortSignal): void {
    const now = clock.now();
    for (const each of known.values()) {
      const { candidate } = each;
      if (candidate === undefined || each.checking || each.checkAt > now) continue;
      each.checking = true;
      const run = checksAtOnce(() => checkOne(each, signal))
        .catch((error: unknown) => {
          if (!signal.aborted) log.error("the check of a Tenant broke off", { name: candidate.name, error });
          each.checkAt = clock.now() + jittered(retryMs);
        })
        .finally(() => {
          each.checking = false;
          running.delete(run);
          bell.ring();
        });
      running.add(run);
    }
  }

  async function checkOne(each: Known, signal: AbortSignal): Promise<void> {
    const { candidate } = each;
    if (candidate === undefined || signal.aborted) return;
    const previous = checksOf(each);
    const results = await check({ name: candidate.name, spec: candidate.spec, clients: candidate.clients, previous }, signal);
    // It changed meanwhile, or is gone: these results are about something else.
    if (each.candidate?.checkKey !== candidate.checkKey || known.get(each.tenant.metadata.uid ?? "") !== each) return;
    each.checks = { key: candidate.checkKey, results };
    const well = conclusive(results) && blocking(results).length === 0;
    each.checkAt = clock.now() + jittered(well ? deps.recheckMs : retryMs);
    settle(each);
    rebuild();
    await write(each, {}, signal);
  }

  function checksOf(each: Known): Checks | undefined {
    return each.checks?.key === each.candidate?.checkKey ? each.checks?.results : undefined;
  }

  // Publishing: to the sagas of this process, to Postgres, to the Tenant.

  function settle(each: Known): void {
    const { candidate, mirrored } = each;
    const before = each.published?.access;
    if (candidate === undefined) {
      each.published = undefined;
      return;
    }
    const wasReady = mirrored?.ready === true && mirrored.revision === candidate.revision;
    each.published = publish(each.published, candidate, checksOf(each), wasReady);
    const after = each.published.access;
    if (!after.ready) return;
    // What waits for a tenant to be ready cannot be told from its row, so all of them look again.
    if (before?.ready === false) each.owed = "all";
    else if (before?.revision !== after.revision && each.owed === "nothing") each.owed = "changed";
  }

  function rebuild(): void {
    const before = byID;
    byID = new Map();
    byNamespace = new Map();
    for (const { published, acceptance } of known.values()) {
      if (published === undefined) continue;
      byID.set(published.access.tenantID, published.access);
      // By what is granted, also while an older spec is still worked with: a namespace has one owner at any moment.
      for (const namespace of acceptance.accepted?.namespaces ?? []) byNamespace.set(namespace, published.access);
    }
    changed.push(...[...byID.values()].filter((access) => !sameAccess(before.get(access.tenantID), access)));
  }
