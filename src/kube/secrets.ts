/** Secrets of tenants: plain create, replace and delete, each guarded so that a foreign one is never touched. */
import * as z from "zod";
import { FIELD_MANAGER, LABEL_MANAGED_BY, objectMeta } from "../api/meta.ts";
import { REASON } from "../api/reasons.ts";
import { SECRET_VERBS } from "../api/setupCommands.ts";
import { ConflictError, TerminalError, TransientError } from "../lib/errors.ts";
import { pathSegment } from "../lib/ids.ts";
import { CONFLICT } from "./classify.ts";
import type { Cluster, SecretBody, SecretObject } from "./cluster.ts";
import { type ApiRequest, type ApiClient, json } from "./apiClient.ts";
import { ask, demand, listAll, moved, read } from "./exchange.ts";
import { waiting } from "./failures.ts";

type Secrets = Pick<
  Cluster,
  | "getSecret"
  | "listOwnSecrets"
  | "createSecret"
  | "replaceSecret"
  | "tryCreateSecret"
  | "tryReplaceSecret"
  | "deleteSecret"
  | "missingSecretRights"
>;

const secret: z.ZodType<SecretObject> = z.looseObject({
  metadata: objectMeta,
  type: z.string().optional(),
  immutable: z.boolean().optional(),
  data: z.record(z.string(), z.string()).optional(),
});

/** What we may do in one namespace, as far as the API server can list it. */
const rulesReview = z.looseObject({
  status: z.looseObject({
    resourceRules: z.array(
      z.looseObject({
        verbs: z.array(z.string()),
        apiGroups: z.array(z.string()).default([]),
        resources: z.array(z.string()).default([]),
        resourceNames: z.array(z.string()).default([]),
      }),
    ),
  }),
});

const review = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });

export function makeSecrets(connection: ApiClient): Secrets {
  const mayI = async (namespace: string, verb: string, signal: AbortSignal): Promise<boolean> => {
    const doing = "create selfsubjectaccessreviews";
    const request: ApiRequest = {
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      body: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { namespace, verb, resource: "secrets" } },
      },
    };
    return read(review, await demand(connection, { doing, request }, signal), doing).status.allowed;
  };

  /** The verbs that are certainly granted; one that is not among them may be granted all the same. */
  const grantedVerbs = async (namespace: string, signal: AbortSignal): Promise<ReadonlySet<string>> => {
    const kind = "SelfSubjectRulesReview";
    const request: ApiRequest = {
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
      body: { apiVersion: "authorization.k8s.io/v1", kind, spec: { namespace } },
    };
    const answer = await connection.send(request, signal);
    const listed = answer.status < 300 ? rulesReview.safeParse(json(answer)).data : undefined;
    const has = (all: readonly string[], one: string): boolean => all.includes(one) || all.includes("*");
    const rules = (listed?.status.resourceRules ?? []).filter(
      ({ apiGroups, resources, resourceNames }) =>
        has(apiGroups, "") && has(resources, "secrets") && resourceNames.length === 0,
    );
    return new Set(SECRET_VERBS.filter((verb) => rules.some(({ verbs }) => has(verbs, verb))));
  };

  return {
    getSecret: (namespace, name, signal) => readSecret(connection, namespace, name, signal),
    async listOwnSecrets(namespace, signal) {
      const doing = `list secrets in ${namespace}`;
      const query = { labelSelector: `${LABEL_MANAGED_BY}=${FIELD_MANAGER}` };
      const items = await listAll(connection, { doing, path: secretPath(namespace), query }, signal);
      return items.flatMap((item) => secret.safeParse(item).data ?? []);
    },
    createSecret: (body, signal) => refusable(body, createSecret(connection, body, "Opaque", signal)),
    replaceSecret: (current, body, signal) => refusable(body, replaceSecret(connection, current, body, signal)),
    async tryCreateSecret(body, signal) {
      try {
        await refusable(body, createSecret(connection, body, "Opaque", signal, "try"));
      } catch (error) {
        // Quota, policies and validation come before the look whether the name is free.
        if (!(error instanceof ConflictError) || error.code !== CONFLICT.AlreadyExists) throw error;
      }
    },
    async tryReplaceSecret(current, body, signal) {
      await refusable(body, replaceSecret(connection, current, body, signal, "try"));
    },
    async deleteSecret(namespace, name, uid, signal) {
      const request: ApiRequest = {
        method: "DELETE",
        path: secretPath(namespace, name),
        body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } },
      };
      await ask(connection, { doing: `delete secrets ${namespace}/${name}`, request }, signal);
    },
    async missingSecretRights(namespace, signal) {
      // One call at most times; what it does not list is asked for by name.
      const granted = await grantedVerbs(namespace, signal);
      const uncertain = SECRET_VERBS.filter((verb) => !granted.has(verb));
      const allowed = await Promise.all(uncertain.map((verb) => mayI(namespace, verb, signal)));
      return uncertain
        .filter((_verb, index) => allowed[index] !== true)
        .map((verb) => `${verb} secrets in ${namespace}`);
    },
  };
}

/**
 * What stands in the way of this Secret is not in the person's manifest, and nobody tells us when it is gone: a quota, a
 * policy or webhook of somebody's, metadata that is too large.
 */
async function refusable<T>(body: SecretBody, write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    if (!(error instanceof TerminalError) || error.code !== REASON.RequestRefused) throw error;
    throw waiting(
      REASON.SecretRefused,
      `Secret ${body.name} cannot be written in namespace ${body.namespace}; correct what refuses it there. ${error.message}`,
      { ...(error.upstreamStatus === undefined ? {} : { upstreamStatus: error.upstreamStatus }), cause: error },
    );
  }
}

type How = "write" | "try";
const DRY_RUN: Readonly<Record<How, Readonly<Record<string, string>>>> = { write: {}, try: { dryRun: "All" } };

/** GET; undefined when there is none. */
export async function readSecret(
  connection: ApiClient,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<SecretObject | undefined> {
  const doing = `get secrets ${namespace}/${name}`;
  const request: ApiRequest = { method: "GET", path: secretPath(namespace, name) };
  const answer = await ask(connection, { doing, request }, signal);
  return answer === undefined ? undefined : read(secret, answer, doing);
}

/** POST. ConflictError AlreadyExists when somebody was first; TransientError when the namespace is gone. */
export async function createSecret(
  connection: ApiClient,
  body: SecretBody,
  type: string,
  signal: AbortSignal,
  how: How = "write",
): Promise<SecretObject> {
  const doing = `create secrets in ${body.namespace}`;
  const request: ApiRequest = {
    method: "POST",
    path: secretPath(body.namespace),
    query: { fieldManager: FIELD_MANAGER, ...DRY_RUN[how] },
    ...encoded(body, type, {}),
  };
  const answer = await ask(connection, { doing, request }, signal);
  if (answer !== undefined) return read(secret, answer, doing);
  throw new TransientError({
    code: REASON.NamespaceNotFound,
    upstream: "kubernetes",
    upstreamStatus: 404,
    message: `The namespace ${body.namespace} does not exist.`,
  });
}

/** PUT with uid and resourceVersion of `current`. ConflictError when it is another one by now, or gone. */
export async function replaceSecret(
  connection: ApiClient,
  current: SecretObject,
  body: SecretBody,
  signal: AbortSignal,
  how: How = "write",
): Promise<SecretObject> {
  const doing = `update secrets ${body.namespace}/${body.name}`;
  const { uid, resourceVersion, finalizers, ownerReferences } = current.metadata;
  const request: ApiRequest = {
    method: "PUT",
    path: secretPath(body.namespace, body.name),
    query: { fieldManager: FIELD_MANAGER, ...DRY_RUN[how] },
    // A PUT without them would take other people's finalizers and owners away.
    ...encoded(body, current.type ?? "Opaque", { uid, resourceVersion, finalizers, ownerReferences }),
  };
  const answer = await ask(connection, { doing, request }, signal);
  if (answer === undefined) throw moved(`Secret ${body.namespace}/${body.name}`);
  return read(secret, answer, doing);
}

function secretPath(namespace: string, name?: string): string {
  const collection = `/api/v1/namespaces/${pathSegment(namespace)}/secrets`;
  return name === undefined ? collection : `${collection}/${pathSegment(name)}`;
}

function encoded(body: SecretBody, type: string, meta: object): Pick<ApiRequest, "body" | "secrets"> {
  const { name, namespace, labels, annotations } = body;
  const data = Object.fromEntries(
    Object.entries(body.data).map(([key, value]) => [key, Buffer.from(value, "utf8").toString("base64")]),
  );
  return {
    body: { apiVersion: "v1", kind: "Secret", type, metadata: { ...meta, name, namespace, labels, annotations }, data },
    secrets: [...Object.values(body.data), ...Object.values(data)],
  };
}
