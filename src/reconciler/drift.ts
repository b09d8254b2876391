import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import { CONDITION } from "../api/reasons.ts";
import { DEFAULT_SECRET_KEYS, type LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster, SecretObject } from "../kube/cluster.ts";
import type { DesiredUser } from "../keycloak/realm.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isSagaError, isSilence } from "../lib/errors.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { Sensitive } from "../lib/sensitive.ts";
import type { TenantUpstream } from "../saga/decide.ts";
import { conditionOf } from "../saga/conditions.ts";
import { type Desired, desire, refusal, vouches } from "../saga/desired.ts";
import { blocked } from "../saga/outcome.ts";
import { report, sameStatus, type Situation } from "../saga/report.ts";
import type { SagaRow } from "../saga/row.ts";
import { desiredUser } from "../steps/keycloak.ts";
import { wantedAccount } from "../steps/accountHolder.ts";
import {
  restingSagas,
  settledSagas,
  takeDriftCheck,
  tenantsAtRest,
  touchDrifted,
  touchForStatus,
} from "../store/drift.ts";
import { originAt, type TenantAccess, type TenantRegistry, UPSTREAMS } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import { closedTo } from "./judge.ts";
import { loopPart } from "./loops.ts";
import type { TenantBreakers } from "./tenantBreakers.ts";
import { isOutage } from "./turns.ts";

/** So many tenants are compared side by side: one whose upstream is slow takes one of these places, and not all. */
const CONCURRENCY = 4;
/** A comparison that has lasted so long counts no more among these; so many there are at most. */
const PATIENCE_MS = 20_000;
const MOST_IN_FLIGHT = 64;
/** How often this process asks whether a tenant is due. */
const POLL_EVERY_MS = 5_000;
/** A tenant's keys are tried one after the other, those of all tenants over at most this part of the interval. */
const KEYS_WITHIN = 0.5;
const LONGEST_PAUSE_MS = 250;
/** Between two pages of a gateway's accounts: it counts all calls, those of our sagas too. */
const PAGE_PAUSE_MS = 1_000;

export interface DriftDeps {
  readonly pool: Pool;
  readonly cluster: Pick<Cluster, "listTenantUsers" | "listOwnSecrets">;
  readonly tenants: TenantRegistry;
  /** Those that sagas have: who is known not to answer, or to refuse the tenant, is not asked. */
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly tenantBreakers: Pick<TenantBreakers, "ask">;
  /** How often each tenant is compared with its upstreams. */
  readonly everyMs: number;
  /** Somebody became due. */
  readonly wake: () => void;
  /** For metrics: so many users differ, and this step corrects them. */
  readonly corrected: (step: "keycloak" | "newapi" | "secret" | "status", count: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Milliseconds between two keys of a tenant with so many people, so that all tenants, one after the other, are through
 * within the interval.
 */
export function pauseBetweenKeys(of: {
  readonly everyMs: number;
  readonly people: number;
  readonly tenants: number;
}): number {
  return Math.min(LONGEST_PAUSE_MS, (of.everyMs * KEYS_WITHIN) / (of.people * of.tenants));
}

function wantedUser(row: SagaRow, object: LiveTenantUser, { spec, realmIsExclusive }: TenantAccess): DesiredUser {
  const desired = desire(object, spec);
  return desiredUser(row, desired, vouches(desired.email, spec, realmIsExclusive));
}

/** The name under which a tenant's statuses are due, beside the tenant's own: no tenant id has a slash. */
function statusCheck({ tenantID }: TenantAccess): string {
  return `status/${tenantID}`;
}

/** What a row at rest says on its object; undefined: it waits for something that only its next claim can name. */
function situationOf(row: SagaRow, desired: Desired): Situation | undefined {
  if (row.blockedOn !== undefined) return blocked(row);
  if (desired.suspend) return { kind: "suspended" };
  return row.state === "done" && row.run === undefined ? { kind: "ready" } : undefined;
}

function showsOtherwise(row: SagaRow, object: LiveTenantUser, desired: Desired, now: Date): boolean {
  const { status: previous, metadata } = object;
  const { generation } = metadata;
  const situation = situationOf(row, desired);
  if (situation === undefined) {
    const ready = conditionOf(previous, CONDITION.Ready);
    return ready === undefined || ready.status === "True" || previous?.userUUID !== row.uuid;
  }
  // A newer one is work of its own.
  if (situation.kind === "ready" && row.handled?.generation !== generation) return false;
  if (situation.kind === "stalled" && row.blockedOn?.startsWith(`${generation}|`) !== true) return false;
  return !sameStatus(previous, report({ row, generation, desired, situation, previous }, now));
}

/** A person, as wanted and as recorded. */
interface Pair {
  readonly row: SagaRow;
  readonly object: LiveTenantUser;
}

/**
 * Compares what upstreams hold with what Git asks for, a few tenants side by side: Keycloak and the gateway's accounts in
 * pages, each key at the gateway once. Writes nothing outside, and nothing at all when nothing differs; who differs is made due.
 */
export function makeDrift(deps: DriftDeps): LoopPart {
  const { pool, cluster, tenants, log, clock } = deps;
  const stopping = new AbortController();
  const { signal } = stopping;
  /** Comparisons under way, by tenant id. */
  const inFlight = new Map<string, { readonly ended: Promise<void>; readonly since: number }>();
  let progress = clock.now();
  /** Since when every comparison fails though all that it needs answers, and whose. */
  let broken: { readonly since: number; readonly tenants: ReadonlySet<string> } | undefined;

  async function run(): Promise<void> {
    while (!signal.aborted) {
      // With Postgres away nobody is taken for resting, and the try below says what is wrong.
      let isOurs = false;
      const resting = await tenantsAtRest(pool).catch((error: unknown) => {
        isOurs = !isOutage(error);
        return new Set<string>();
      });
      for (const tenant of tenants.all()) {
        const rests = resting.has(tenant.tenantID) && resting.has(statusCheck(tenant));
        if (rests || inFlight.has(tenant.tenantID)) continue;
        await room();
        if (signal.aborted) break;
        const ended = compareDue(tenant, resting).finally(() => inFlight.delete(tenant.tenantID));
        inFlight.set(tenant.tenantID, { ended, since: clock.now() });
      }
      if (!isOurs) progress = clock.now();
      await pause(POLL_EVERY_MS, signal);
    }
    await Promise.all(Array.from(inFlight.values(), ({ ended }) => ended));
  }

  /** Whoever takes longer than others need gives its place up, so that no few of them ever hold all. */
  async function room(): Promise<void> {
    const isFull = (): boolean => {
      const quick = [...inFlight.values()].filter(({ since }) => clock.now() - since < PATIENCE_MS).length;
      return quick >= CONCURRENCY || inFlight.size >= MOST_IN_FLIGHT;
    };
    while (isFull() && !signal.aborted) {
      progress = clock.now();
      await Promise.race([...Array.from(inFlight.values(), ({ ended }) => ended), sleep(1_000)]);
    }
  }

  /** Compares the tenant if it is due. Never throws. */
  async function compareDue(tenant: TenantAccess, resting: ReadonlySet<string>): Promise<void> {
    progress = clock.now();
    if (signal.aborted) return;
    // A status is ours to keep true, whoever of the upstreams answers.
    await attempt(tenant, async () => {
      if (await takeDriftCheck(pool, statusCheck(tenant), deps.everyMs)) await compareStatuses(tenant);
    });
    if (signal.aborted || !tenant.ready || tenant.spec.suspend || resting.has(tenant.tenantID)) return;
    // Its time is not spent on upstreams of which none answers.
    if (UPSTREAMS.every((upstream) => closedTo(deps, tenant, upstream) !== undefined)) return;
    await attempt(tenant, async () => {
      if (await takeDriftCheck(pool, tenant.tenantID, deps.everyMs)) await compare(tenant);
    });
  }

  async function attempt(tenant: TenantAccess, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      broken = undefined;
    } catch (error) {
      // Somebody else's outage is honest; what fails for several tenants and well for none is our own mistake.
      if (isOutage(error)) broken = undefined;
      else broken = { since: broken?.since ?? clock.now(), tenants: new Set(broken?.tenants).add(tenant.tenantID) };
      const { name } = tenant;
      if (!signal.aborted)
        log.info("failed to compare a tenant with its upstreams; retrying at the next interval", { name, error });
    }
  }

  /** Asks an upstream, and lets its breaker know whether it answered. */
  async function asked<T>(tenant: TenantAccess, upstream: TenantUpstream, ask: () => Promise<T>): Promise<T> {
    const origin = originAt(tenant.spec, upstream);
    const began = clock.now();
    try {
      const answer = await ask();
      deps.breakers.success(origin);
      return answer;
    } catch (error) {
      if (!signal.aborted && isSagaError(error) && isSilence(error)) deps.breakers.failure(origin, began);
      throw error;
    }
  }

  async function compare(tenant: TenantAccess): Promise<void> {
    const pairs = await pairsOf(tenant);
    if (pairs.length === 0) return;
    const { realm, gateway } = tenant;
    if (realm !== undefined && closedTo(deps, tenant, "keycloak") === undefined) {
      const users = pairs.map(({ row, object }) => wantedUser(row, object, tenant));
      await touch("keycloak", tenant, await asked(tenant, "keycloak", () => realm.drifted(users, signal)));
    }
    if (gateway !== undefined && closedTo(deps, tenant, "newapi") === undefined) {
      const accounts = pairs.map(({ row, object }) => wantedAccount(row, desire(object, tenant.spec)));
      await touch("newapi", tenant, await asked(tenant, "newapi", () => gateway.drifted(accounts, pace, signal)));
    }
    if (tenant.spec.newapi.verifyKey && closedTo(deps, tenant, "newapi") === undefined) await tryKeys(tenant, pairs);
  }

  /** Who shows something else than is known of them: wiped or written by hand. Read in a list, like the rest. */
  async function compareStatuses(tenant: TenantAccess): Promise<void> {
    const rows = await restingSagas(pool, tenant.tenantID);
    const objects = await objectsOf(rows);
    const now = new Date(clock.now());
    const differing = rows.filter((row) => {
      const object = row.objectUID === undefined ? undefined : objects.get(row.objectUID);
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return false;
      return showsOtherwise(row, object, desire(object, tenant.spec), now);
    });
    if (differing.length === 0) return;
    log.info("found statuses that differ from what is known; writing them again", {
      name: tenant.name,
      outcome: "status",
      count: differing.length,
    });
    await touchForStatus(
      pool,
      differing.map(({ uuid }) => uuid),
    );
    deps.corrected("status", differing.length);
    deps.wake();
  }

  async function objectsOf(rows: readonly SagaRow[]): Promise<Map<string, LiveTenantUser>> {
    const objects = new Map<string, LiveTenantUser>();
    for (const namespace of new Set(rows.flatMap((row) => row.namespace ?? []))) {
      for (const object of await cluster.listTenantUsers(namespace, signal)) {
        objects.set(object.metadata.uid, object);
      }
    }
    return objects;
  }

  /** Finished people whose object is as it was when they were finished: others have work of their own to come. */
  async function pairsOf(tenant: TenantAccess): Promise<Pair[]> {
    const rows = await settledSagas(pool, tenant.tenantID);
    if (rows.length === 0) return [];
    const objects = await objectsOf(rows);
    return rows.flatMap((row) => {
      const object = row.objectUID === undefined ? undefined : objects.get(row.objectUID);
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      if (row.handled?.generation !== object.metadata.generation) return [];
      const desired = desire(object, tenant.spec);
      return desired.suspend || refusal(desired, tenant.spec) !== undefined ? [] : [{ row, object }];
    });
  }

  async function pace(): Promise<void> {
    progress = clock.now();
    await sleep(PAGE_PAUSE_MS, undefined, { signal });
  }

  async function tryKeys(tenant: TenantAccess, pairs: readonly Pair[]): Promise<void> {
    const { gateway } = tenant;
    if (gateway === undefined) return;
    const secrets = new Map<string, SecretObject>();
    for (const namespace of new Set(pairs.flatMap(({ row }) => row.secretNamespace ?? []))) {
      for (const secret of await cluster.listOwnSecrets(namespace, signal)) {
        if (secret.metadata.uid !== undefined) secrets.set(secret.metadata.uid, secret);
      }
    }
    const pauseMs = pauseBetweenKeys({ everyMs: deps.everyMs, people: pairs.length, tenants: tenants.all().length });
    for (const { row, object } of pairs) {
      if (!row.enabled) continue;
      const secret = row.secretUID === undefined ? undefined : secrets.get(row.secretUID);
      const entry = object.spec.secret?.keys?.apiKey ?? DEFAULT_SECRET_KEYS.apiKey;
      const value = secret?.data?.[entry];
      if (value === undefined) {
        await touch("secret", tenant, [row.uuid]);
        continue;
      }
      const key = new Sensitive(Buffer.from(value, "base64").toString("utf8"));
      const state = await asked(tenant, "newapi", () => gateway.verifyKey(key, signal));
      if (state !== row.handled?.key) await touch("newapi", tenant, [row.uuid]);
      progress = clock.now();
      await sleep(pauseMs, undefined, { signal });
    }
  }

  async function touch(
    from: "keycloak" | "newapi" | "secret",
    tenant: TenantAccess,
    uuids: readonly string[],
  ): Promise<void> {
    if (uuids.length === 0) return;
    log.info("found people who differ from what Git asks for; correcting them", {
      name: tenant.name,
      step: from,
      outcome: "drift",
      count: uuids.length,
    });
    await touchDrifted(pool, uuids, from);
    deps.corrected(from, uuids.length);
    deps.wake();
  }

  const lastProgress = (): number => (broken !== undefined && broken.tenants.size > 1 ? broken.since : progress);
  return { ...loopPart({ name: "drift", run, lastProgress, stopping }), allowedMs: 3 * 60_000 };
}
