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
import { parseDuration } from "../api/duration.ts";
import type { Cluster, OpenWatch, Watch, WatchEvent } from "../kube/cluster.ts";
import type { Log } from "../lib/log.ts";
import type { TenantRegistry } from "../reconciler/access.ts";
import type { Intake } from "../reconciler/intake.ts";
import { compareList, markSeenDeleted, orphanForeignRows, type Sighting, touchObject } from "../store/sightings.ts";
import type { Retries } from "./retries.ts";

export interface UserWatchDeps {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly cluster: Cluster;
  readonly clusterID: () => Promise<string>;
  readonly tenants: TenantRegistry;
  readonly intake: Intake;
  /** Runs work until it succeeds, with pauses; what a neighbour's outage interrupts is not forgotten. */
  readonly retries: Retries;
  readonly look: () => void;
  readonly log: Log;
}

/**
 * Watches TenantUsers, metadata only and without a selector: every sight becomes a touch of a row, or an applicant for
 * one. A deletion counts only when it was seen: a DELETED event on the live watch, then 404, under a living CRD.
 */
export function watchUsers(deps: UserWatchDeps): Watch {
  const { pool, cluster, retries, intake, log } = deps;
  // What was last seen of each object: our own status writes change none of it, and cause no work.
  const seen = new Map<string, string>();

  async function onEvent(event: WatchEvent): Promise<void> {
    switch (event.kind) {
      case "listed":
        seen.clear();
        for (const object of event.items) seen.set(object.uid ?? "", signature(object));
        retries.run("list", (signal) => listed(event.items.map(sighting), signal));
        return;
      case "added":
      case "modified": {
        const { uid } = event.object;
        if (uid === undefined) return;
        const now = signature(event.object);
        if (seen.get(uid) === now) return;
        seen.set(uid, now);
        const sight = sighting(event.object);
        // One that has only just come has no row, or another replica gave it one since, which is due then: it need not be
        // touched first.
        const isNew = event.kind === "added";
        const take = () =>
          retries.run(uid, (signal) =>
            isNew ? intake.consider(sight.namespace, sight.name, signal) : sighted(sight, signal),
          );
        // Who came before this deletion may be waiting for what it gives up (a rename is a new object, then a
        // deletion): let them be noted first, so that the person is handed over and not undone.
        if (sight.deleting) void retries.settled().then(take);
        else take();
        return;
      }
      case "deleted":
        seen.delete(event.object.uid ?? "");
        retries.run(event.object.uid ?? "", (signal) => deleted(sighting(event.object), signal));
        return;
      default:
        event satisfies never;
    }
  }

  async function sighted(object: Sighting, signal: AbortSignal): Promise<void> {
    if (await touchObject(pool, object.uid)) deps.look();
    else await intake.consider(object.namespace, object.name, signal);
  }

  async function listed(objects: readonly Sighting[], signal: AbortSignal): Promise<void> {
    const clusterID = await deps.clusterID();
    // First: the objects of a rebuilt cluster come for these very rows.
    const foreign = await orphanForeignRows(pool, clusterID);
    if (foreign > 0) log.warn(`${foreign} rows of another cluster became orphans; nothing of theirs is undone.`, {});
    const { strangers, missing } = await compareList(pool, clusterID, objects);
    for (const stranger of strangers) {
      retries.run(stranger.uid, (inner) => intake.consider(stranger.namespace, stranger.name, inner));
    }
    for (const row of missing) {
      // Absence after a list is not a deletion. The claim reads the object, finds none, and calls the row an orphan.
      const object = await cluster.getTenantUser(row.namespace, row.name, signal);
      if (object?.metadata.uid !== row.uid) await touchObject(pool, row.uid);
    }
    deps.look();
  }

  async function deleted(object: Sighting, signal: AbortSignal): Promise<void> {
    const live = await cluster.getTenantUser(object.namespace, object.name, signal);
    if (live?.metadata.uid === object.uid) return;
    if ((await cluster.tenantUserCRD(signal)) !== "present") return;
    const tenant = deps.tenants.byNamespace(object.namespace);
    const graceMs = tenant === undefined ? 0 : parseDuration(tenant.spec.deletionGrace);
    if (await markSeenDeleted(pool, object.uid, await deps.clusterID(), graceMs)) deps.look();
    // A namesake that was committed meanwhile has come by its own event; those who waited for this one have not.
    if (tenant !== undefined) await intake.reconsider(tenant.tenantID, signal);
  }

  return deps.openWatch({ path: `/apis/${GROUP}/${VERSION}/${KINDS.TenantUser.plural}` }, onEvent);
}

function sighting(object: ObjectMeta): Sighting {
  return {
    uid: object.uid ?? "",
    namespace: object.namespace ?? "",
    name: object.name,
    generation: object.generation ?? 0,
    deleting: object.deletionTimestamp !== undefined,
    requestedAt: object.annotations?.[ANNOTATION_REQUESTED_AT],
    rotateRequestedAt: object.annotations?.[ANNOTATION_ROTATE_REQUESTED_AT],
  };
}

function signature(object: ObjectMeta): string {
  const { generation, deleting, requestedAt, rotateRequestedAt } = sighting(object);
  const held = object.finalizers?.includes(FINALIZER) === true;
  return [generation, deleting, held, requestedAt ?? "", rotateRequestedAt ?? ""].join("|");
}
