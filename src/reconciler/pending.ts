import type { Pool } from "pg";
import { REASON } from "../api/reasons.ts";
import type { Job, Jobs } from "../lib/jobs.ts";
import type { SagaRow } from "../saga/row.ts";
import {
  firstPending,
  forgetBindRequest,
  nextPending,
  type Pending,
  pendingForPlaces,
  pendingInNamespaces,
  pendingPages,
  type Rank,
  type PendingUser,
} from "../store/waiting.ts";
import type { TenantRegistry } from "./access.ts";
import type { Intake, Outcome } from "./intake.ts";

/** So many of one tenant are considered before the others have their turn. */
const AT_ONCE = 10;
/** Of each tenant so many rows are read at a sweep, and so many people considered whatever they wait for. */
const PAGE = 50;
const CONSIDERED = 5;
/** Of all tenants together. */
const MOST_CONSIDERED = 200;

/** What a row holds that others may wait for. */
export type Held = Pick<SagaRow, "tenantID" | "uuid" | "email" | "objectUID">;

/** Calls those who wait when what they wait for is free: only as many as it is enough for. All of it runs as jobs. */
export interface PendingUsers {
  /** A row has given up its email and its place, or its object is to be released. */
  released(held: Held): void;
  /** There may be room in this tenant. */
  room(tenantID: string): void;
  /** A Tenant came, went or changed: those in its namespaces are considered, in pages. */
  tenantChanged(tenantID: string, namespaces: readonly string[]): void;
  /** An object that waits was not in a list: it is forgotten if it is gone. */
  missed(pendingUser: PendingUser): void;
  /** Reads the next pages of those who wait, against calls that were lost. Bounded, however many wait. */
  sweep(): Promise<void>;
}

export interface PendingDeps {
  readonly pool: Pool;
  readonly intake: Intake;
  readonly jobs: Pick<Jobs, "run">;
  readonly tenants: Pick<TenantRegistry, "get" | "byNamespace">;
}

interface Freed {
  readonly emails: Set<string>;
  readonly uuids: Set<string>;
  readonly objectUIDs: Set<string>;
}

/** The queue of a tenant's objects; one that nobody claims is alone in its own. */
export function queueOf(tenants: Pick<TenantRegistry, "byNamespace">, namespace: string): string {
  const tenantID = tenants.byNamespace(namespace)?.tenantID;
  return tenantID === undefined ? `namespace/${namespace}` : queueOfTenant(tenantID);
}

export const queueOfTenant = (tenantID: string): string => `people/${tenantID}`;

export function makePendingUsers({ pool, intake, jobs, tenants }: PendingDeps): PendingUsers {
  /** By tenant: what was released since its job last ran. */
  const freed = new Map<string, Freed>();
  /** By tenant: the namespaces to go through, and how far. */
  const passes = new Map<string, { readonly namespaces: Set<string>; after: string | undefined }>();
  /** By tenant: the last one that a sweep has read. */
  const swept = new Map<string, string>();

  const run = (tenantID: string, key: string, job: Job): void => jobs.run({ queue: queueOfTenant(tenantID), key }, job);

  /** An object that is gone waits for nothing. */
  async function consider(pendingUser: PendingUser, signal: AbortSignal): Promise<Outcome | "touched"> {
    const outcome = await intake.reconsider(pendingUser, signal);
    if (outcome === "gone") await forgetBindRequest(pool, pendingUser.uid);
    return outcome;
  }

  function note(tenantID: string, { email, uuid, objectUID }: Partial<Omit<Held, "tenantID">>): void {
    const known = freed.get(tenantID) ?? { emails: new Set(), uuids: new Set(), objectUIDs: new Set() };
    freed.set(tenantID, known);
    if (email !== undefined) known.emails.add(email);
    if (uuid !== undefined) known.uuids.add(uuid);
    if (objectUID !== undefined) known.objectUIDs.add(objectUID);
    run(tenantID, "released", (signal) => callFirst(tenantID, signal));
  }

  /** The first of those who wait for each of what was released; behind one who is gone or may not, the next. */
  async function callFirst(tenantID: string, signal: AbortSignal): Promise<void> {
    const known = freed.get(tenantID);
    if (known === undefined) return;
    const now = {
      emails: [...known.emails].slice(0, AT_ONCE),
      uuids: [...known.uuids].slice(0, AT_ONCE),
      objectUIDs: [...known.objectUIDs].slice(0, AT_ONCE),
    };
    let isOver = true;
    for (const first of await firstPending(pool, tenantID, now)) {
      const outcome = await consider(first, signal);
      const { email } = first;
      // It stands there no more, so that another one is the first.
      if (outcome === "gone" || (outcome === "refused" && email !== undefined)) isOver = false;
      if (outcome === "touched" && email !== undefined) await callWithoutRow(tenantID, email, first, signal);
    }
    if (isOver) {
      // Not before: what failed is done again.
      for (const email of now.emails) known.emails.delete(email);
      for (const uuid of now.uuids) known.uuids.delete(uuid);
      for (const uid of now.objectUIDs) known.objectUIDs.delete(uid);
    }
    if (known.emails.size + known.uuids.size + known.objectUIDs.size === 0) freed.delete(tenantID);
    else run(tenantID, "released", (again) => callFirst(tenantID, again));
  }

  /** Whether a row takes the email that it waited for is not known yet, so whoever has none is called as well. */
  async function callWithoutRow(tenantID: string, email: string, first: Rank, signal: AbortSignal): Promise<void> {
    let after = first;
    for (let n = 0; n < AT_ONCE; n += 1) {
      const next = await nextPending(pool, tenantID, email, after);
      if (next === undefined) return;
      const outcome = await consider(next, signal);
      if (outcome === "bound" || outcome === "waiting") return;
      after = next;
    }
  }

  function room(tenantID: string): void {
    run(tenantID, "places", (signal) => fillPlaces(tenantID, undefined, signal));
  }

  async function fillPlaces(tenantID: string, after: Rank | undefined, signal: AbortSignal): Promise<void> {
    const tenant = tenants.get(tenantID);
    if (tenant === undefined) return;
    const of = { tenantID, maxUsers: tenant.spec.limits?.maxUsers, limit: AT_ONCE };
    const page = await pendingForPlaces(pool, of, after);
    for (const pendingUser of page) await consider(pendingUser, signal);
    const last = page.at(-1);
    // Until nobody is left, or no place: the rest of the queue has its turn between two pages.
    if (last !== undefined) run(tenantID, "places", (again) => fillPlaces(tenantID, last, again));
  }

  async function pass(tenantID: string, signal: AbortSignal): Promise<void> {
    const now = passes.get(tenantID);
    if (now === undefined) return;
    const { namespaces, after } = now;
    const of = { namespaces: [...namespaces], tenantID: tenants.get(tenantID)?.tenantID, limit: AT_ONCE };
    const page = await pendingInNamespaces(pool, of, after);
    for (const pendingUser of page) await consider(pendingUser, signal);
    const last = page.at(-1);
    // A change that came meanwhile has begun it again.
    if (passes.get(tenantID) !== now) return;
    if (last === undefined) passes.delete(tenantID);
    else {
      now.after = last.uid;
      run(tenantID, "tenant", (again) => pass(tenantID, again));
    }
  }

  function considerSoon(pendingUser: Pending | PendingUser): void {
    jobs.run({ queue: queueOf(tenants, pendingUser.namespace), key: pendingUser.uid }, async (signal) => {
      await consider(pendingUser, signal);
    });
  }

  return {
    released(held) {
      note(held.tenantID, held);
      room(held.tenantID);
    },
    room,
    tenantChanged(tenantID, namespaces) {
      const before = passes.get(tenantID)?.namespaces ?? [];
      passes.set(tenantID, { namespaces: new Set([...before, ...namespaces]), after: undefined });
      run(tenantID, "tenant", (signal) => pass(tenantID, signal));
      room(tenantID);
    },
    missed: considerSoon,
    async sweep() {
      const read = await pendingPages(pool, swept, PAGE);
      swept.clear();
      const byTenant = Map.groupBy(read, ({ tenantID }) => tenantID ?? "");
      const share = Math.max(1, Math.min(CONSIDERED, Math.floor(MOST_CONSIDERED / Math.max(1, byTenant.size))));
      for (const [tenantID, page] of byTenant) {
        const last = page.at(-1);
        // A short page was the last: the next sweep begins again.
        if (last !== undefined && page.length === PAGE) swept.set(tenantID, last.uid);
        page.forEach((pendingUser, n) => {
          const { tenantID: of, email, free, why } = pendingUser;
          const claimed = of === undefined && tenants.byNamespace(pendingUser.namespace) !== undefined;
          // Its turn is the first's of its email.
          if (free && of !== undefined) note(of, { email });
          else if (n < share || claimed || why === REASON.Deleting) considerSoon(pendingUser);
        });
        if (page.some(({ why }) => why === REASON.QuotaFull)) room(tenantID);
      }
    },
  };
}
