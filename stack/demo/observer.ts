/** Sees a journey where it happens: in Flux's objects, in the TenantUsers, in the product's own books. */
import type { Pool } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { CONDITION } from "../../src/api/reasons.ts";
import { tenantUserStatus, type TenantUserStatus } from "../../src/api/tenantUser.ts";
import { collectionPath } from "../../src/kube/objects.ts";
import type { Kube, Observation } from "../kube.ts";
import { GIT_REPOSITORY, gitRepositoriesPath, kustomizationsPath } from "../onboard.ts";

/** A write to the outside, as the product has noted it. */
export interface Written {
  readonly uuid: string;
  readonly step: string;
  readonly action: string;
  readonly target: string | undefined;
  readonly at: number;
}

/** One person's object, from its first observation on. All times in milliseconds since the epoch. */
export interface Person {
  readonly name: string;
  readonly uid: string;
  readonly seenAt: number;
  /** When the saga of this object was recorded, by the webhook or by the watch. */
  recordedAt?: number;
  readyAt?: number;
  deletingAt?: number;
  goneAt?: number;
  status: TenantUserStatus | undefined;
}

export interface Observer {
  /** By name: the newest object of that name. */
  readonly people: ReadonlyMap<string, Person>;
  readonly writes: readonly Written[];
  /** When Flux had fetched this commit. */
  fetchedAt(commit: string): number | undefined;
  /** When Flux called this commit applied, and all that is in it healthy. */
  appliedAt(commit: string): number | undefined;
  /** What Flux has to say at the moment. */
  fluxSays(): string;
  /** Resolves when all is seen; throws what stands in the way when that takes too long. */
  until(done: () => boolean, onLook: () => void, withinMs: number, stuck: () => string): Promise<void>;
}

const LOOK_MS = 100;

const source = z.looseObject({
  status: z.looseObject({ artifact: z.looseObject({ revision: z.string() }).optional() }).optional(),
});
const kustomization = z.looseObject({
  status: z
    .looseObject({
      lastAppliedRevision: z.string().optional(),
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string(), message: z.string() })).optional(),
    })
    .optional(),
});
const withStatus = z.looseObject({ status: tenantUserStatus.optional().catch(undefined) });

/** Begins to look; ends when the signal aborts. */
export async function observe(
  { kube, pool, namespace }: { readonly kube: Kube; readonly pool: Pool; readonly namespace: string },
  signal: AbortSignal,
): Promise<Observer> {
  const people = new Map<string, Person>();
  const writes: Written[] = [];
  const fetched = new Map<string, number>();
  const applied = new Map<string, number>();
  let flux = "";
  let failure: unknown;

  const onSource = ({ object, at }: Observation): void => {
    if (object.metadata.name === GIT_REPOSITORY)
      noteFirst(fetched, source.parse(object).status?.artifact?.revision, at);
  };
  const onKustomization = ({ object, at }: Observation): void => {
    const { status } = kustomization.parse(object);
    noteFirst(applied, status?.lastAppliedRevision, at);
    flux = (status?.conditions ?? []).map(({ type, message }) => `${type}: ${message}`).join("\n");
  };
  const onPerson = ({ object, gone, at }: Observation): void => {
    const { name, uid = "", generation, deletionTimestamp } = object.metadata;
    let person = people.get(name);
    if (person?.uid !== uid) people.set(name, (person = { name, uid, seenAt: at, status: undefined }));
    if (gone) person.goneAt ??= at;
    if (deletionTimestamp !== undefined) person.deletingAt ??= at;
    person.status = withStatus.parse(object).status;
    const ready = person.status?.conditions?.find(({ type }) => type === CONDITION.Ready);
    if (ready?.status === "True" && person.status?.observedGeneration === generation) person.readyAt ??= at;
  };

  const { rows } = await pool.query<{ seq: string }>("select coalesce(max(seq), 0) as seq from audit");
  const before = rows[0]?.seq ?? "0";
  const known = new Set<string>();
  const readBooks = async (): Promise<void> => {
    const news = await pool.query<{
      seq: string;
      uuid: string;
      step: string;
      action: string;
      target: string;
      at: Date;
    }>(
      // All of them each time: one with a lower number can be committed after one with a higher.
      "select seq, sme_user_uuid as uuid, step, action, target, at from audit where seq > $1 order by seq",
      [before],
    );
    for (const { at, seq, ...row } of news.rows) {
      if (known.has(seq)) continue;
      known.add(seq);
      writes.push({ ...row, target: row.target ?? undefined, at: at.getTime() });
    }
    const unrecorded = [...people.values()].filter(({ recordedAt }) => recordedAt === undefined);
    if (unrecorded.length === 0) return;
    const found = await pool.query<{ uid: string; at: Date }>(
      // The row of somebody who was here before is older than the object: it was taken up again when confirmed.
      `select object_uid as uid, case when created_at >= object_created_at then created_at
                                      else confirmed_at end as at
         from user_provision_state where object_uid = any($1::uuid[]) and confirmed_at is not null`,
      [unrecorded.map(({ uid }) => uid)],
    );
    for (const { uid, at } of found.rows) {
      const person = unrecorded.find((each) => each.uid === uid);
      if (person) person.recordedAt = at.getTime();
    }
  };
  const keepReading = async (): Promise<void> => {
    while (!signal.aborted) {
      await readBooks();
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  };

  const loops = [
    kube.follow(gitRepositoriesPath(namespace), onSource, signal),
    kube.follow(kustomizationsPath(namespace), onKustomization, signal),
    kube.follow(collectionPath("TenantUser", namespace), onPerson, signal),
    keepReading(),
  ];
  for (const loop of loops) loop.catch((error: unknown) => (failure ??= error));

  return {
    people,
    writes,
    fetchedAt: (commit) => fetched.get(commit),
    appliedAt: (commit) => applied.get(commit),
    fluxSays: () => flux,
    async until(done, onLook, withinMs, stuck) {
      for (const end = Date.now() + withinMs; ; await sleep(25, undefined, { signal })) {
        if (failure !== undefined && !signal.aborted) throw failure;
        const finished = done();
        onLook();
        if (finished) return;
        if (Date.now() > end) throw new Error(stuck());
      }
    },
  };
}

/** Flux names a revision like main@sha1:<commit>. */
function noteFirst(times: Map<string, number>, revision: string | undefined, at: number): void {
  const commit = revision?.split(":").at(-1);
  if (commit !== undefined && !times.has(commit)) times.set(commit, at);
}
