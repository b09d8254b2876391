import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import { DEFAULT_SECRET_KEYS, type LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster, SecretObject } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { Sensitive } from "../lib/sensitive.ts";
import type { TenantNeighbour } from "../saga/decide.ts";
import { desire, refusal } from "../saga/desired.ts";
import type { SagaRow } from "../saga/row.ts";
import { desiredUser } from "../steps/keycloak.ts";
import { wantedAccount } from "../steps/person.ts";
import { settledSagas, takeDriftCheck, tenantsAtRest, touchDrifted } from "../store/drift.ts";
import { originAt, type TenantAccess, type TenantRegistry } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import type { TenantBreakers } from "./tenantBreakers.ts";

/** So many tenants are compared side by side: one whose neighbour is slow keeps a lane, and not everybody. */
const LANES = 4;
/** How often this process asks whether a tenant's turn has come. */
const LOOK_EVERY_MS = 5_000;
/** A tenant's keys are tried one after the other, those of all tenants over at most this part of the interval. */
const KEYS_WITHIN = 0.5;
const LONGEST_PAUSE_MS = 250;
/** Between two looks at a gateway's accounts: it counts all calls, those of our sagas too. */
const LOOK_PAUSE_MS = 1_000;

export interface DriftDeps {
  readonly pool: Pool;
  readonly cluster: Pick<Cluster, "listTenantUsers" | "listOwnSecrets">;
  readonly tenants: TenantRegistry;
  /** Those that sagas have: who is known not to answer, or to refuse the tenant, is not asked. */
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly tenantBreakers: Pick<TenantBreakers, "ask">;
  /** How often each tenant is compared with its neighbours. */
  readonly everyMs: number;
  readonly look: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Drift extends Part {
  lastProgress(): number;
}

/**
 * Milliseconds between two keys of a tenant with so many people, so that all tenants, one after the other, have their turn
 * within the interval.
 */
export function pauseBetweenKeys(of: {
  readonly everyMs: number;
  readonly people: number;
  readonly tenants: number;
}): number {
  return Math.min(LONGEST_PAUSE_MS, (of.everyMs * KEYS_WITHIN) / (of.people * of.tenants));
}

/** A person, as wanted and as recorded. */
interface Pair {
  readonly row: SagaRow;
  readonly object: LiveTenantUser;
}

/**
 * Compares what neighbours hold with what Git asks for, tenant by tenant in a few lanes: Keycloak and the gateway's accounts
 * in pages, each key at the gateway once. Writes nothing outside, and nothing at all when nothing differs; who differs is made due.
 */
export function makeDrift(deps: DriftDeps): Drift {
  const { pool, cluster, tenants, log, clock } = deps;
  const stopping = new AbortController();
  const { signal } = stopping;
  /** Turns under way, by tenant id. */
  const inHand = new Map<string, Promise<void>>();
  let progress = clock.now();
  let loop: Promise<void> = Promise.resolve();

  async function run(): Promise<void> {
    while (!signal.aborted) {
      // With Postgres away nobody is taken for resting, and the try below says what is wrong.
      const resting = await tenantsAtRest(pool).catch(() => new Set<string>());
      for (const tenant of tenants.all()) {
        if (resting.has(tenant.tenantID) || inHand.has(tenant.tenantID)) continue;
        while (inHand.size >= LANES) await Promise.race(inHand.values());
        inHand.set(
          tenant.tenantID,
          turn(tenant).finally(() => inHand.delete(tenant.tenantID)),
        );
      }
      progress = clock.now();
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
    await Promise.all(inHand.values());
  }

  /** Compares the tenant if its turn has come. Never throws. */
  async function turn(tenant: TenantAccess): Promise<void> {
    progress = clock.now();
    if (signal.aborted || !tenant.ready || tenant.spec.suspend) return;
    // Its turn is not spent on neighbours of whom none answers.
    if (isClosed(tenant, "keycloak") && isClosed(tenant, "newapi")) return;
    try {
      if (await takeDriftCheck(pool, tenant.tenantID, deps.everyMs)) await compare(tenant);
    } catch (error) {
      if (!signal.aborted) log.info("A comparison was given up; the next one does it.", { name: tenant.name, error });
    }
  }

  function isClosed({ tenantID, spec }: TenantAccess, neighbour: TenantNeighbour): boolean {
    const silent = deps.breakers.ask(originAt(spec, neighbour));
    return (silent ?? deps.tenantBreakers.ask(tenantID, neighbour)) !== undefined;
  }

  /** Asks a neighbour, and lets its breaker know whether it answered. */
  async function asked<T>(tenant: TenantAccess, neighbour: TenantNeighbour, ask: () => Promise<T>): Promise<T> {
    const origin = originAt(tenant.spec, neighbour);
    try {
      const answer = await ask();
      deps.breakers.success(origin);
      return answer;
    } catch (error) {
      if (!signal.aborted && isSagaError(error) && error.class === "transient") deps.breakers.failure(origin);
      throw error;
    }
  }

  async function compare(tenant: TenantAccess): Promise<void> {
    const pairs = await pairsOf(tenant);
    if (pairs.length === 0) return;
    const { realm, gateway } = tenant;
    if (realm !== undefined && !isClosed(tenant, "keycloak")) {
      const users = pairs.map(({ row, object }) => desiredUser(row, desire(object, tenant.spec)));
      await touch("keycloak", tenant, await asked(tenant, "keycloak", () => realm.drifted(users, signal)));
    }
    if (gateway !== undefined && !isClosed(tenant, "newapi")) {
      const accounts = pairs.map(({ row, object }) => wantedAccount(row, desire(object, tenant.spec)));
      await touch("newapi", tenant, await asked(tenant, "newapi", () => gateway.drifted(accounts, pace, signal)));
    }
    if (tenant.spec.newapi.verifyKey && !isClosed(tenant, "newapi")) await tryKeys(tenant, pairs);
  }

  /** Finished people whose object is as it was when they were finished: others have work of their own to come. */
  async function pairsOf(tenant: TenantAccess): Promise<Pair[]> {
    const rows = await settledSagas(pool, tenant.tenantID);
    if (rows.length === 0) return [];
    const objects = new Map<string, LiveTenantUser>();
    for (const namespace of new Set(rows.flatMap((row) => row.namespace ?? []))) {
      for (const object of await cluster.listTenantUsers(namespace, signal)) {
        const live = object as LiveTenantUser;
        objects.set(live.metadata.uid, live);
      }
    }
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
    await sleep(LOOK_PAUSE_MS, undefined, { signal });
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
    const pause = pauseBetweenKeys({ everyMs: deps.everyMs, people: pairs.length, tenants: tenants.all().length });
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
      const verdict = await asked(tenant, "newapi", () => gateway.verifyKey(key, signal));
      if (verdict !== row.handled?.key) await touch("newapi", tenant, [row.uuid]);
      progress = clock.now();
      await sleep(pause, undefined, { signal });
    }
  }

  async function touch(
    from: "keycloak" | "newapi" | "secret",
    tenant: TenantAccess,
    uuids: readonly string[],
  ): Promise<void> {
    if (uuids.length === 0) return;
    log.info("People differ from what Git asks for.", {
      name: tenant.name,
      step: from,
      outcome: "drift",
      count: uuids.length,
    });
    await touchDrifted(pool, uuids, from);
    deps.look();
  }

  return {
    name: "drift",
    lastProgress: () => progress,
    start: () => {
      loop = run();
    },
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      await loop;
    },
  };
}
