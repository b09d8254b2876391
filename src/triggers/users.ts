import type { Pool } from "pg";
import {
  ANNOTATION_REQUESTED_AT,
  ANNOTATION_ROTATE_REQUESTED_AT,
  FINALIZER,
  GROUP,
  KINDS,
  type ObjectMeta,
  VERSION,
} from "../api/meta.ts";
import { isUUID } from "../api/names.ts";
import { parseDuration } from "../api/duration.ts";
import type { Cluster, OpenWatch, Watch, WatchEvent } from "../kube/cluster.ts";
import type { Jobs } from "../lib/jobs.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { mark } from "../lib/text.ts";
import type { TenantRegistry } from "../reconciler/access.ts";
import type { Intake } from "../reconciler/intake.ts";
import { WITHHELD_MS } from "../saga/decide.ts";
import { queueOf, type PendingUsers } from "../reconciler/pending.ts";
import { forgetBindRequest, pendingNotListed, stillPending } from "../store/waiting.ts";
import {
  compareList,
  markSeenDeleted,
  type ObservedObject,
  orphanForeignRows,
  touchObject,
} from "../store/observations.ts";

export interface UserWatchDeps {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly cluster: Cluster;
  readonly clusterID: () => Promise<string>;
  readonly tenants: TenantRegistry;
  readonly intake: Intake;
  readonly pending: Pick<PendingUsers, "released" | "room" | "missed">;
  /** Runs work until it succeeds, with pauses; what an upstream's outage interrupts is not forgotten. */
  readonly jobs: Jobs;
  readonly notify: () => void;
  /** For metrics: something was left out so that the rest could be taken in. */
  readonly skipped: () => void;
  readonly log: Log;
}

/**
 * Watches TenantUsers, metadata only and without a selector: every change becomes a touch of a row, or a bind request for
 * one. A deletion counts only when it was seen: a DELETED event on the live watch, then 404, under a living CRD.
 */
export function watchUsers(deps: UserWatchDeps): Watch {
  const { pool, cluster, jobs, intake, pending, log } = deps;
  const placeOf = ({ namespace, uid }: Pick<ObservedObject, "namespace" | "uid">) => ({
    queue: queueOf(deps.tenants, namespace),
    key: uid,
  });
  // What was last seen of each object: our own status writes change none of it, and cause no work.
  const seen = new Map<string, string>();

  async function onEvent(event: WatchEvent): Promise<void> {
    switch (event.kind) {
      case "listed":
        seen.clear();
        for (const object of event.items) seen.set(object.uid ?? "", signature(object));
        jobs.run({ queue: "list", key: "users" }, () => listed(event.items.map(observedObject)));
        return;
      case "added":
      case "modified": {
        const { uid } = event.object;
        if (uid === undefined) return;
        const now = signature(event.object);
        if (seen.get(uid) === now) return;
        seen.set(uid, now);
        const object = observedObject(event.object);
        // One that has only just come has no row, or another replica gave it one since, which is due then: it need not be
        // touched first.
        const isNew = event.kind === "added";
        const place = placeOf(object);
        const take = () =>
          jobs.run(place, async (signal) => {
            if (isNew) await intake.consider(object.namespace, object.name, signal);
            else await observed(object, signal);
          });
        // Who came before this deletion may be waiting for what it gives up (a rename is a new object, then a
        // deletion): let those of this tenant be noted first, so that the person is handed over and not undone.
        if (object.deleting) void jobs.settled(place.queue).then(take);
        else take();
        return;
      }
      case "deleted":
        seen.delete(event.object.uid ?? "");
        jobs.run(placeOf(observedObject(event.object)), (signal) => deleted(observedObject(event.object), signal));
        return;
      default:
        event satisfies never;
    }
  }

  async function observed(object: ObservedObject, signal: AbortSignal): Promise<void> {
    if (await touchObject(pool, object.uid)) deps.notify();
    else await intake.consider(object.namespace, object.name, signal);
  }

  async function listed(objects: readonly ObservedObject[]): Promise<void> {
    const clusterID = await deps.clusterID();
    // First: the objects of a rebuilt cluster come for these very rows.
    const foreign = await orphanForeignRows(pool, clusterID);
    if (foreign > 0)
      log.warn("orphaned rows of another cluster; nothing of theirs is undone", { outcome: "orphaned", rows: foreign });
    const { unbound, missing } = await compareList(pool, clusterID, objects, skipped);
    const told = await stillPending(
      pool,
      unbound.filter(({ deleting }) => !deleting),
    );
    // Each in its tenant's queue: however many of one there are, nobody else waits for them.
    for (const object of unbound) {
      if (told.has(object.uid)) continue;
      jobs.run(placeOf(object), async (signal) => {
        await intake.consider(object.namespace, object.name, signal);
      });
    }
    for (const row of missing) {
      // Absence after a list is not a deletion. The claim reads the object, finds none, and calls the row an orphan.
      jobs.run(placeOf(row), async (signal) => {
        const object = await cluster.getTenantUser(row.namespace, row.name, signal);
        if (object?.metadata.uid !== row.uid && (await touchObject(pool, row.uid))) deps.notify();
      });
    }
    const uids = objects.map(({ uid }) => uid).filter((uid) => isUUID(uid.toLowerCase()));
    for (const pendingUser of await pendingNotListed(pool, uids)) pending.missed(pendingUser);
    deps.notify();
  }

  function skipped({ namespace, name }: ObservedObject, error: unknown): void {
    deps.skipped();
    log.warn("failed to process an object of a list; skipping it", { namespace, name, outcome: "skipped", error });
  }

  async function deleted(object: ObservedObject, signal: AbortSignal): Promise<void> {
    const live = await cluster.getTenantUser(object.namespace, object.name, signal);
    if (live?.metadata.uid === object.uid) return;
    if ((await cluster.tenantUserCRD(signal)) !== "present") return;
    const tenant = deps.tenants.byNamespace(object.namespace);
    const graceMs = tenant === undefined ? 0 : parseDuration(tenant.spec.deletionGrace);
    const withheldMs = tenant === undefined || tenant.spec.allow.retain ? undefined : WITHHELD_MS;
    const held = await markSeenDeleted(pool, object.uid, await deps.clusterID(), graceMs, withheldMs);
    // One that only waited holds back those who came after it.
    if (held === undefined) await forgetBindRequest(pool, object.uid);
    if (held !== undefined) {
      deps.notify();
      pending.released({ ...held, objectUID: undefined });
    } else if (tenant !== undefined) pending.room(tenant.tenantID);
  }

  return deps.openWatch({ path: `/apis/${GROUP}/${VERSION}/${KINDS.TenantUser.plural}` }, onEvent);
}

/** Only once the Tenants are known does "no Tenant claims this namespace" mean anything. */
export function makeUserWatch(deps: UserWatchDeps & { readonly tenantsLoaded: Promise<void> }): Part {
  let watch: Watch | undefined;
  let isStopped = false;
  return {
    name: "users",
    start: () =>
      void deps.tenantsLoaded.then(() => {
        if (!isStopped) watch = watchUsers(deps);
      }),
    stop: async () => {
      isStopped = true;
      await watch?.stop();
    },
  };
}

function observedObject(object: ObjectMeta): ObservedObject {
  return {
    uid: object.uid ?? "",
    namespace: object.namespace ?? "",
    name: object.name,
    generation: object.generation ?? 0,
    deleting: object.deletionTimestamp !== undefined,
    requestedAt: marked(object.annotations?.[ANNOTATION_REQUESTED_AT]),
    rotateRequestedAt: marked(object.annotations?.[ANNOTATION_ROTATE_REQUESTED_AT]),
  };
}

function marked(annotation: string | undefined): string | undefined {
  return annotation === undefined ? undefined : mark(annotation);
}

function signature(object: ObjectMeta): string {
  const { generation, deleting, requestedAt, rotateRequestedAt } = observedObject(object);
  const held = object.finalizers?.includes(FINALIZER) === true;
  return [generation, deleting, held, requestedAt ?? "", rotateRequestedAt ?? ""].join("|");
}
