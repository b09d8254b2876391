/**
 * The tenants as the webhook knows them: a copy, in memory, of two tables that the reconciler mirrors from the cluster.
 * With Postgres away the last copy stays in use.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Random } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { type TenantID, isTenantID } from "../api/names.ts";
import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import { connectionConfig } from "./pool.ts";

export interface KnownTenant {
  readonly tenantID: TenantID;
  /** metadata.name of the Tenant. */
  readonly name: string;
  /** The last accepted spec. */
  readonly spec: TenantSpec;
}

export interface TenantDirectory extends Part {
  /** The tenant that the namespace belongs to. */
  lookup(namespace: string): KnownTenant | undefined;
  /** False until the tables were read for the first time: "no such tenant" means nothing before. */
  readonly loaded: boolean;
}

interface Row {
  readonly tenant_id: string;
  readonly name: string;
  readonly accepted: unknown;
  readonly namespaces: string[];
}

const TENANTS = `
  select t.tenant_id, t.name, t.accepted, array_agg(n.namespace) as namespaces
    from tenants t join tenant_namespaces n using (tenant_id)
   group by t.tenant_id`;

/** Read again this often, whatever was heard: heals a lost notification, and notices a connection that is dead. */
const RELOAD_MS = 30_000;
/** A burst of notifications (a statement for each table) is one reading. */
const SETTLE_MS = 20;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export function makeTenantDirectory(deps: {
  readonly url: string;
  readonly applicationName?: string;
  readonly log: Log;
  readonly random: Random;
}): TenantDirectory {
  const { log, random } = deps;
  const config = connectionConfig({
    url: deps.url,
    applicationName: deps.applicationName ?? "unified-rbac tenants",
    statementTimeoutMs: 5_000,
  });
  const stopped = new AbortController();
  let byNamespace: ReadonlyMap<string, KnownTenant> = new Map();
  let loaded = false;
  let failures = 0;
  let loop: Promise<void> | undefined;

  const load = async (client: pg.Client): Promise<void> => {
    const { rows } = await client.query<Row>(TENANTS);
    byNamespace = index(rows, log);
    if (!loaded || failures > 0) log.info("tenants known", { tenants: rows.length });
    loaded = true;
    failures = 0;
  };

  /** One connection's life: listens first, reads then, so that no change falls between. Ends when the connection does. */
  const follow = async (): Promise<void> => {
    const client = new pg.Client(config);
    const changed = makeBell();
    const ended = new AbortController();
    const end = (): void => {
      ended.abort();
      changed.ring();
    };
    const abandon = (): void => {
      end();
      void client.end().catch(() => {});
    };
    client.on("error", end);
    client.on("end", end);
    client.on("notification", changed.ring);
    stopped.signal.addEventListener("abort", abandon, { once: true });
    try {
      await client.connect();
      await client.query("listen tenants_changed");
      while (!ended.signal.aborted) {
        await load(client);
        await changed.wait(RELOAD_MS);
        if (!ended.signal.aborted) await pause(SETTLE_MS, ended.signal);
      }
      if (!stopped.signal.aborted) throw new Error("the connection ended");
    } finally {
      stopped.signal.removeEventListener("abort", abandon);
      await client.end().catch(() => {});
    }
  };

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        await follow();
      } catch (error) {
        if (stopped.signal.aborted) return;
        // Once for each outage, not once for each try.
        if (failures === 0) log.warn("no view of the tenants, keeping the last one", { error });
        failures++;
        const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
        await pause(longest * (0.5 + random() / 2), stopped.signal);
      }
    }
  };

  return {
    name: "tenant directory",
    lookup: (namespace) => byNamespace.get(namespace),
    get loaded() {
      return loaded;
    },
    start() {
      loop = run();
    },
    async stop() {
      stopped.abort();
      await loop;
    },
  };
}

function index(rows: readonly Row[], log: Log): ReadonlyMap<string, KnownTenant> {
  const found = new Map<string, KnownTenant>();
  for (const row of rows) {
    const spec = tenantSpec.safeParse(row.accepted);
    if (!spec.success || !isTenantID(row.tenant_id)) {
      log.error("a mirrored tenant cannot be read", { tenant: row.name });
      continue;
    }
    const tenant: KnownTenant = { tenantID: row.tenant_id, name: row.name, spec: spec.data };
    for (const namespace of row.namespaces) found.set(namespace, tenant);
  }
  return found;
}

/** Rung before anybody waits, it is still heard. */
function makeBell(): { readonly ring: () => void; readonly wait: (ms: number) => Promise<void> } {
  let rung = false;
  let answer: (() => void) | undefined;
  return {
    ring() {
      rung = true;
      answer?.();
    },
    async wait(ms) {
      if (!rung) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, ms);
        answer = resolve;
        await promise;
        clearTimeout(timer);
        answer = undefined;
      }
      rung = false;
    },
  };
}

/** Ends early, and quietly, when told to stop. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => {});
}
