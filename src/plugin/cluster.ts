/** The cluster with the rights of whoever sits at the terminal. Every refusal becomes a sentence. */
import * as z from "zod";
import { liveTenant, type Tenant } from "../api/tenant.ts";
import type { ApiRequest } from "../kube/apiClient.ts";
import { collectionPath, objectPath } from "../kube/objects.ts";
import { NoAnswerError, type PersonalCluster, RefusalError } from "../kube/personal.ts";
import { pathSegment } from "../lib/ids.ts";
import { EXIT, failure, PluginError } from "./exit.ts";
import type { SeenEvent } from "./journey.ts";
import { CLI_MANAGER } from "./ownership.ts";
import { person, type UserView } from "./userView.ts";
import { printable } from "./text.ts";

export interface Pod {
  readonly name: string;
  /** Its container `reconciler` runs. */
  readonly reconciles: boolean;
}

export interface ClusterView {
  /** Undefined: nobody has this name. */
  person(namespace: string, name: string): Promise<UserView | undefined>;
  /** All namespaces when undefined. */
  people(namespace: string | undefined): Promise<UserView[]>;
  /** Server-side apply as field manager `tenantuser-cli`. */
  apply(of: UserView, body: object, force: boolean): Promise<UserView>;
  /** The Tenant that has this namespace; undefined: none, or you may not read Tenants. */
  tenantOf(namespace: string): Promise<Tenant | undefined>;
  /** Of one object; empty also where you may not read them. */
  events(of: UserView): Promise<SeenEvent[]>;
  /** What the cluster calls you. */
  whoAmI(): Promise<string>;
  /** The service's Pods. */
  pods(namespace: string): Promise<Pod[]>;
  close(): void;
}

const eventShape = z.looseObject({
  type: z.string().default(""),
  reason: z.string().default(""),
  message: z.string().default(""),
  eventTime: z.string().nullish(),
  lastTimestamp: z.string().nullish(),
  metadata: z.looseObject({ creationTimestamp: z.string().default("") }),
});
const podShape = z.looseObject({
  metadata: z.looseObject({ name: z.string(), deletionTimestamp: z.string().optional() }),
  status: z
    .looseObject({
      containerStatuses: z
        .array(
          z.looseObject({ name: z.string(), state: z.looseObject({ running: z.unknown().optional() }).prefault({}) }),
        )
        .default([]),
    })
    .prefault({}),
});
const review = z.looseObject({
  status: z.looseObject({ userInfo: z.looseObject({ username: z.string().default("") }) }),
});

export function viewCluster(cluster: PersonalCluster): ClusterView {
  /** Undefined: there is no such object. */
  async function found<T>(doing: string, work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof RefusalError && error.status === 404 && error.details?.name !== undefined) return undefined;
      throw inWords(error, doing, cluster.context);
    }
  }

  const ask = <T>(doing: string, request: ApiRequest, schema: z.ZodType<T>): Promise<T | undefined> =>
    found(
      doing,
      cluster.ask(request).then((body) => schema.parse(body)),
    );
  const all = async (doing: string, path: string, query?: Readonly<Record<string, string>>): Promise<unknown[]> =>
    (await found(doing, cluster.list(path, query))) ?? [];

  return {
    person: (namespace, name) =>
      ask(
        `get tenantusers in namespace ${namespace}`,
        { method: "GET", path: objectPath("TenantUser", { namespace, name }) },
        person,
      ),
    async people(namespace) {
      const doing = `list tenantusers in ${namespace === undefined ? "all namespaces" : `namespace ${namespace}`}`;
      const items = await all(doing, collectionPath("TenantUser", namespace));
      // What is listed has neither apiVersion nor kind of its own.
      return items.flatMap((item) => person.safeParse({ apiVersion: "", kind: "", ...Object(item) }).data ?? []);
    },
    async apply(of, body, force) {
      const { namespace, name } = of.metadata;
      const doing = `patch tenantusers in namespace ${namespace}`;
      const request: ApiRequest = {
        method: "PATCH",
        path: objectPath("TenantUser", { namespace, name }),
        query: { fieldManager: CLI_MANAGER, ...(force ? { force: "true" } : {}) },
        patchType: "apply",
        body,
      };
      const applied = await ask(doing, request, person);
      if (applied !== undefined) return applied;
      throw new PluginError(EXIT.notFound, `${name} in namespace ${namespace} is gone: nothing was changed.`);
    },
    async tenantOf(namespace) {
      const items = await all("list tenants", collectionPath("Tenant")).catch(onlyForbidden);
      const tenants = (items ?? []).flatMap((item) => liveTenant.safeParse(item).data ?? []);
      return tenants.find((tenant) => (tenant.status?.accepted ?? tenant.spec).namespaces.includes(namespace));
    },
    async events({ metadata: { namespace, uid } }) {
      const path = `/api/v1/namespaces/${pathSegment(namespace)}/events`;
      const query = { fieldSelector: `involvedObject.uid=${uid}` };
      const items = await all(`list events in namespace ${namespace}`, path, query).catch(onlyForbidden);
      return (items ?? []).flatMap((item) => {
        const { data } = eventShape.safeParse(item);
        if (data === undefined) return [];
        const { type, reason, message, eventTime, lastTimestamp, metadata } = data;
        return [{ at: eventTime ?? lastTimestamp ?? metadata.creationTimestamp, type, reason, message }];
      });
    },
    async whoAmI() {
      const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
      const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
      const answer = await ask("ask who you are", { method: "POST", path, body }, review).catch(onlyForbidden);
      return answer?.status.userInfo.username ?? "";
    },
    async pods(namespace) {
      const path = `/api/v1/namespaces/${pathSegment(namespace)}/pods`;
      const query = { labelSelector: "app.kubernetes.io/name=unified-rbac" };
      const items = await all(`list pods in namespace ${namespace}`, path, query);
      return items.flatMap((item) => {
        const { data } = podShape.safeParse(item);
        if (data === undefined || data.metadata.deletionTimestamp !== undefined) return [];
        const container = data.status.containerStatuses.find(({ name }) => name === "reconciler");
        return [{ name: data.metadata.name, reconciles: container?.state.running !== undefined }];
      });
    },
    close: () => cluster.close(),
  };
}

/** What you may not read is left out; everything else is reported. */
function onlyForbidden(error: unknown): undefined {
  if (error instanceof PluginError && error.exit === EXIT.forbidden) return undefined;
  throw error;
}

function inWords(error: unknown, doing: string, where: string): unknown {
  if (error instanceof NoAnswerError) {
    const detail = error.message.replace(/^kubernetes could not be reached /, "");
    return failure(
      `The cluster of context ${where} does not answer ${printable(detail)} Nothing was done (${doing}); check the network, or choose another --context.`,
      error,
    );
  }
  if (error instanceof RefusalError && error.status >= 300) return refusal(error, doing, where);
  if (!(error instanceof RefusalError || error instanceof z.ZodError)) return error;
  return failure(`The cluster gave an answer that is not its own (${doing}).`, error);
}

function refusal({ status, message, details }: RefusalError, doing: string, where: string): PluginError {
  const said = printable(message);
  switch (status) {
    case 401:
      return new PluginError(
        EXIT.forbidden,
        `The cluster of context ${where} does not know you (401): log in again, or choose another --context.`,
      );
    case 403: {
      const who = /User "([^"]+)"/.exec(said)?.[1];
      const name = who === undefined ? "You" : `You (${who})`;
      return new PluginError(
        EXIT.forbidden,
        `${name} may not ${doing}: ask the platform for the rights of unified-rbac-oncall.`,
      );
    }
    case 404:
      return new PluginError(
        EXIT.notFound,
        `The cluster of context ${where} has nothing of that kind (${doing}): unified-rbac is not installed there, or another --context is meant.`,
      );
    case 409: {
      const conflict = details?.causes.find(({ reason }) => reason === "FieldManagerConflict");
      return conflict === undefined
        ? failure(`It was changed in the same moment, and nothing was done (${doing}): try again. ${said}`)
        : new PluginError(EXIT.gitOwns, `Nothing was changed: ${printable(conflict.message ?? said)}.`);
    }
    default:
      return failure(`The cluster refused to ${doing} (${status}): ${said}`);
  }
}
