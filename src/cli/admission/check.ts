/** `admission check`: a dry run, which passes the webhook as a commit does. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { API_VERSION, FINALIZER, OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { collectionPath } from "../../kube/objects.ts";
import { type ClusterChoice, type ClusterClient, connectCluster } from "../cluster.ts";
import { CommandFailure } from "../failure.ts";

const PAUSE_MS = 1000;
const created = z.looseObject({ metadata: z.looseObject({ finalizers: z.array(z.string()).default([]) }) });

const USER = {
  apiVersion: API_VERSION,
  kind: "TenantUser",
  metadata: { name: "unified-rbac-admission-check", namespace: OPERATOR_NAMESPACE },
  spec: { email: "admission-check@unified-rbac.invalid" },
};

/**
 * Undefined: the API server called the webhook. Otherwise a sentence with what happened last. Tries again until
 * `timeoutMs` has passed, at least once; throws a CommandFailure when the last try found no cluster or no right.
 */
export async function checkAdmission(
  choice: ClusterChoice,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const cluster = await connectCluster(choice, signal);
  const until = Date.now() + timeoutMs;
  try {
    for (;;) {
      const failure = await tryOnce(cluster);
      if (failure === undefined) return undefined;
      if (Date.now() + PAUSE_MS > until) {
        if (failure instanceof CommandFailure) throw failure;
        return failure;
      }
      await sleep(PAUSE_MS, undefined, { signal });
    }
  } finally {
    cluster.close();
  }
}

/** After an installation, definitions, rights and the API server itself may be a moment late: what fails is no end yet. */
async function tryOnce(cluster: ClusterClient): Promise<string | CommandFailure | undefined> {
  const path = collectionPath("TenantUser", OPERATOR_NAMESPACE);
  try {
    const answer = await cluster.post(path, USER, { dryRun: "All", fieldManager: "unified-rbac-cli" });
    if (answer === undefined) return `The API server does not know TenantUsers in ${OPERATOR_NAMESPACE}.\n`;
    if (created.parse(answer).metadata.finalizers.includes(FINALIZER)) return undefined;
    return (
      "The API server did not call the webhook: a TenantUser passed without the finalizer. " +
      "docs/runbook.md says where to look.\n"
    );
  } catch (error) {
    if (error instanceof CommandFailure) return error;
    throw error;
  }
}
