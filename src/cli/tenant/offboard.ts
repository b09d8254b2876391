/** `tenant offboard`: the end of a tenant. Every step observes again what is left, so it can be interrupted and run again. */
import { setTimeout as sleep } from "node:timers/promises";

import { CONDITION } from "../../api/reasons.ts";
import { objectPath } from "../../kube/objects.ts";
import { type ClusterClient, connectCluster } from "../cluster.ts";
import { EXIT, CommandFailure } from "../failure.ts";
import {
  graceOf,
  leftovers,
  leftToYou,
  type OffboardWishes,
  planText,
  retainedOf,
  stillInGit,
  withheldFor,
} from "./offboardPlan.ts";
import { nameOf, readTenant, readUsers, type Survey, survey, type TenantNamespace } from "./survey.ts";
import { OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { pathSegment } from "../../lib/ids.ts";
import { shell } from "../../lib/shell.ts";

export interface OffboardRequest extends OffboardWishes {
  readonly yes: boolean;
  readonly timeoutMs: number;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** Shows the plan, and carries it out with `yes`. Gives the exit code; throws a CommandFailure. */
export async function offboard(
  name: string,
  request: OffboardRequest,
  out: (text: string) => void,
  signal: AbortSignal,
): Promise<number> {
  const cluster = await connectCluster(request, signal);
  try {
    const found = await survey(cluster, name);
    out(planText(name, found, request));
    const nothing = found.tenant === undefined && found.namespaces.length === 0;
    if (nothing) return EXIT.ok;
    if (!request.yes) {
      out("\nNothing was done; add --yes to do it.\n");
      return EXIT.ok;
    }
    if (found.heldByGit !== undefined) throw new CommandFailure(stillInGit(name, found.heldByGit), EXIT.unfinished);
    out("\n");
    const deadline = AbortSignal.timeout(request.timeoutMs);
    await carryOut({ cluster, name, request, out, signal, deadline }, found);
    out(`\nTenant ${name} is gone.\n\n${leftToYou(found, OPERATOR_NAMESPACE)}`);
    return EXIT.ok;
  } finally {
    cluster.close();
  }
}

interface Work {
  readonly cluster: ClusterClient;
  readonly name: string;
  readonly request: OffboardRequest;
  readonly out: (text: string) => void;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
  /** From here on it only reports what is left. */
  readonly deadline: AbortSignal;
}

async function carryOut(work: Work, found: Survey): Promise<void> {
  const { cluster, name, request } = work;
  if (request.skipGrace) await dropGrace(work, found);
  for (const { path } of found.namespaces.flatMap((each) => each.kustomizations)) {
    await cluster.patch(path, { spec: { suspend: true } });
  }
  await removePeople(work, found);
  if (found.tenant !== undefined) {
    await settled(work, found);
    await cluster.remove(objectPath("Tenant", { name }), found.tenant.metadata.uid);
    await until(work, "the Tenant to go", async () => {
      const tenant = await readTenant(cluster, name);
      return tenant === undefined ? undefined : readySentence(tenant.status?.conditions);
    });
    work.out("The Tenant is deleted.\n");
  }
  for (const each of found.namespaces) await removeNamespace(work, each);
}

/** Before anybody is deleted: the end of a grace is fixed at the deletion. */
async function dropGrace({ cluster, name, ...work }: Work, { tenant }: Survey): Promise<void> {
  if (tenant === undefined || tenant.metadata.deletionTimestamp !== undefined) return;
  await cluster.patch(objectPath("Tenant", { name }), { spec: { deletionGrace: "0s" } });
  await until({ cluster, name, ...work }, "the reconciler to take the grace away", async () => {
    const now = await readTenant(cluster, name);
    const accepted = now?.status?.accepted?.deletionGrace;
    return now === undefined || accepted === "0s" ? undefined : "does the reconciler run?";
  });
}

async function removePeople(work: Work, found: Survey): Promise<void> {
  const { cluster, request, out } = work;
  const before = found.namespaces.flatMap(({ users }) => users).length;
  let reported = before;
  await until(work, "people to be removed", async () => {
    const users = (await Promise.all(found.namespaces.map((each) => readUsers(cluster, each.name)))).flat();
    for (const { metadata, spec } of users) {
      if (metadata.deletionTimestamp !== undefined) continue;
      const path = objectPath("TenantUser", metadata);
      if (request.alsoRetained && spec.deletionPolicy === "Retain") {
        await cluster.patch(path, { spec: { deletionPolicy: "Delete" } });
      }
      await cluster.remove(path, metadata.uid);
    }
    if (users.length !== reported) out(`${before - users.length} of ${before} people are removed.\n`);
    reported = users.length;
    if (users.length === 0) return undefined;
    return users.map((user) => `${nameOf(user)}: ${readySentence(user.status?.conditions)}`).join("\n");
  });
}

/** Waits until no cleanup is pending; throws when that needs somebody to act, or the end of a grace. */
async function settled(work: Work, found: Survey): Promise<void> {
  const { cluster, name, request, out } = work;
  const grace = graceOf(found, request);
  const { withheld } = retainedOf(found, request);
  const longer = withheldFor(found, request);
  const removed = found.namespaces.flatMap(({ users }) => users).length;
  if (grace !== undefined && removed > withheld.length) throw inGrace(name, grace, withheld.length, longer);
  let reported = "";
  // Where nobody was seen to go just now, the count may be from before: it is written once a minute.
  let emptySince = grace === undefined && withheld.length === 0 ? 0 : undefined;
  await until(work, "the accounts to be undone", async () => {
    const tenant = await readTenant(cluster, name);
    if (tenant === undefined) return undefined;
    const left = leftovers({ tenant });
    if (left.size === 0) {
      if (emptySince === undefined) out("Making sure that nobody is in their grace; this takes a minute.\n");
      emptySince ??= Date.now();
      return Date.now() - emptySince >= COUNTED_MS ? undefined : "the count of people is not sure yet";
    }
    const counted = [...left].map(([state, number]) => `${number} ${state}`).join(", ");
    const standing = [...left.keys()].every((state) => ["deleting", "retained", "orphaned"].includes(state));
    if (standing && [...left.keys()].some((state) => state !== "deleting")) throw needsPurge(counted);
    if (standing && (left.get("deleting") ?? 0) <= withheld.length) throw stillWithheld(name, withheld.length, longer);
    if (standing && grace !== undefined) throw inGrace(name, grace, withheld.length, longer);
    if (counted !== reported) out(`Still to remove: ${counted}.\n`);
    reported = counted;
    return `${counted}; the reconciler keeps retrying an upstream that does not answer; run this again later. ${readySentence(tenant.status?.conditions)}`;
  });
}

/** The reconciler writes the count of people at least this often, and a bit. */
const COUNTED_MS = 65_000;

function needsPurge(counted: string): CommandFailure {
  const why = `Some people were kept or lost (${counted}): the Tenant stays until each was purged`;
  return new CommandFailure(`${why} with "kubectl tenantuser purge"; then run this again.`, EXIT.unfinished);
}

function inGrace(name: string, grace: string, withheld: number, longer: string): CommandFailure {
  const why = `Everybody is removed, and their accounts are disabled until the end of their grace (${grace}), in which a commit brings them back.`;
  const also = withheld === 0 ? "" : ` ${ofWithheld(withheld)} are locked for ${longer}.`;
  return new CommandFailure(`${why}${also} ${againAfterIt(name)}.`, EXIT.unfinished);
}

function stillWithheld(name: string, number: number, time: string): CommandFailure {
  const why = `${ofWithheld(number)} are locked for ${time}, in which a commit brings them back.`;
  return new CommandFailure(
    `${why} ${againAfterIt(name)}, or end it with "kubectl tenantuser purge".`,
    EXIT.unfinished,
  );
}

function ofWithheld(number: number): string {
  const whose = number === 1 ? "one person" : `${number} people`;
  return `The accounts of ${whose} whose deletionPolicy Retain the Tenant does not allow`;
}

function againAfterIt(name: string): string {
  return `Run "${shell`unified-rbac tenant offboard ${name} --yes`}" again after it`;
}

async function removeNamespace(
  work: Work,
  { name, uid, own, kustomizations, repositories }: TenantNamespace,
): Promise<void> {
  const { cluster, request, out } = work;
  // Suspended, so nothing is pruned; without them nothing is fetched any more either.
  for (const { path, uid: id } of [...kustomizations, ...repositories]) await cluster.remove(path, id);
  if (!own || request.keepNamespaces) return;
  const path = `/api/v1/namespaces/${pathSegment(name)}`;
  await cluster.remove(path, uid);
  await until(work, `namespace ${name} to go`, async () =>
    (await cluster.get(path))?.metadata.uid === uid
      ? shell`kubectl get namespace ${name} -o yaml says what holds it.`
      : undefined,
  );
  out(`Namespace ${name} is deleted.\n`);
}

const PAUSE_MS = 1_000;

/** Looks until there is nothing to complain of. Throws a CommandFailure with the last complaint at the deadline. */
async function until(work: Work, what: string, complaint: () => Promise<string | undefined>): Promise<void> {
  for (;;) {
    const said = await complaint();
    if (said === undefined) return;
    if (work.deadline.aborted) {
      throw new CommandFailure(
        `Waited for ${what} long enough; run the same command again to continue.\n${said}`,
        EXIT.unfinished,
      );
    }
    await sleep(PAUSE_MS, undefined, { signal: work.signal });
  }
}

function readySentence(conditions: readonly { type: string; reason: string; message: string }[] | undefined): string {
  const ready = conditions?.find(({ type }) => type === CONDITION.Ready);
  return ready === undefined ? "It says nothing yet." : `${ready.reason}: ${ready.message}`;
}
