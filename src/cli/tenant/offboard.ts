/** `tenant offboard`: the end of a tenant. Every step finds out anew what is left, so it can be cut and run again. */
import { setTimeout as sleep } from "node:timers/promises";

import { CONDITION } from "../../api/reasons.ts";
import { objectPath } from "../../kube/objects.ts";
import { type ClusterClient, connectCluster } from "../cluster.ts";
import { EXIT, Failure } from "../failure.ts";
import { graceOf, leftovers, leftToYou, type OffboardWishes, planText, stillInGit } from "./offboardPlan.ts";
import { nameOf, readTenant, readUsers, type Survey, survey, type TenantNamespace } from "./survey.ts";
import { OPERATOR_NAMESPACE } from "./values.ts";

export interface OffboardRequest extends OffboardWishes {
  readonly yes: boolean;
  readonly timeoutMs: number;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** Shows the plan, and carries it out with `yes`. Gives the exit code; throws a Failure. */
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
    if (found.heldByGit !== undefined) throw new Failure(stillInGit(name, found.heldByGit), EXIT.unfinished);
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
  /** From here on it is only said what is left. */
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
  let told = before;
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
    if (users.length !== told) out(`${before - users.length} of ${before} people are removed.\n`);
    told = users.length;
    if (users.length === 0) return undefined;
    return users.map((user) => `${nameOf(user)}: ${readySentence(user.status?.conditions)}`).join("\n");
  });
}

/** Waits until nothing is owed to a neighbour; throws when that needs a person or the end of a grace. */
async function settled(work: Work, found: Survey): Promise<void> {
  const { cluster, name, request, out } = work;
  const grace = graceOf(found, request);
  let told = "";
  await until(work, "the accounts to be undone", async () => {
    const tenant = await readTenant(cluster, name);
    if (tenant === undefined) return undefined;
    const left = leftovers({ tenant });
    if (left.size === 0) return undefined;
    const counted = [...left].map(([state, number]) => `${number} ${state}`).join(", ");
    const standing = [...left.keys()].every((state) => ["deleting", "retained", "orphaned"].includes(state));
    if (standing && [...left.keys()].some((state) => state !== "deleting"))
      throw new Failure(needsPurge(counted), EXIT.unfinished);
    if (standing && grace !== undefined) throw new Failure(inGrace(name, counted, grace), EXIT.unfinished);
    if (counted !== told) out(`Still to be undone: ${counted}.\n`);
    told = counted;
    return `${counted}; a neighbour that is away is tried on, and this can be run again. ${readySentence(tenant.status?.conditions)}`;
  });
}

const needsPurge = (counted: string): string =>
  `Some people were kept or lost (${counted}): the Tenant stays until each was purged with "kubectl tenantuser purge"; then run this again.`;

const inGrace = (name: string, counted: string, grace: string): string =>
  `Everybody is removed; ${counted} wait for the end of their grace (${grace}), in which a commit brings them back. Run "unified-rbac tenant offboard ${name} --yes" again after it.`;

async function removeNamespace(
  work: Work,
  { name, uid, own, kustomizations, repositories }: TenantNamespace,
): Promise<void> {
  const { cluster, request, out } = work;
  // Suspended, so nothing is pruned; without them nothing is fetched any more either.
  for (const { path, uid: id } of [...kustomizations, ...repositories]) await cluster.remove(path, id);
  if (!own || request.keepNamespaces) return;
  const path = `/api/v1/namespaces/${name}`;
  await cluster.remove(path, uid);
  await until(work, `namespace ${name} to go`, async () =>
    (await cluster.get(path))?.metadata.uid === uid
      ? `kubectl get namespace ${name} -o yaml says what holds it.`
      : undefined,
  );
  out(`Namespace ${name} is deleted.\n`);
}

const PAUSE_MS = 1_000;

/** Looks until there is nothing to complain of. Throws a Failure with the last complaint at the deadline. */
async function until(work: Work, what: string, complaint: () => Promise<string | undefined>): Promise<void> {
  for (;;) {
    const said = await complaint();
    if (said === undefined) return;
    if (work.deadline.aborted) {
      throw new Failure(
        `Waited for ${what} long enough; run the same command again to go on.\n${said}`,
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
