/** The cluster with the rights of whoever sits at the terminal. Every refusal becomes a sentence. */
import * as z from "zod";
import { liveTenant, type Tenant } from "../api/tenant.ts";
import type { Connection, ApiRequest } from "../kube/connection.ts";
import { collectionPath, objectPath } from "../kube/objects.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { EXIT, PluginError } from "./exit.ts";
import type { SeenEvent } from "./journey.ts";
import { CLI_MANAGER } from "./ownership.ts";
import { person, type Person } from "./person.ts";
import { printable } from "./text.ts";

export interface Pod {
  readonly name: string;
  /** Its container `reconciler` runs. */
  readonly reconciles: boolean;
}

export interface ClusterView {
  /** Undefined: nobody has this name. */
  person(namespace: string, name: string): Promise<Person | undefined>;
  /** All namespaces when undefined. */
  people(namespace: string | undefined): Promise<Person[]>;
  /** Server-side apply as field manager `tenantuser-cli`. */
  apply(of: Person, body: object, force: boolean): Promise<Person>;
  /** The Tenant that has this namespace; undefined: none, or you may not look. */
  tenantOf(namespace: string): Promise<Tenant | undefined>;
  /** Of one object; empty also where you may not look. */
  events(of: Person): Promise<SeenEvent[]>;
  /** What the cluster calls you. */
  whoAmI(): Promise<string>;
  /** The service's Pods. */
  pods(namespace: string): Promise<Pod[]>;
  close(): void;
}

const PAGE = 500;

const statusBody = z.looseObject({
  kind: z.literal("Status"),
  message: z.string().default(""),
  reason: z.string().default(""),
  details: z
    .looseObject({
      name: z.string().optional(),
      causes: z.array(z.looseObject({ reason: z.string().optional(), message: z.string().optional() })).default([]),
    })
    .prefault({}),
});
type StatusBody = z.infer<typeof statusBody>;

const list = z.looseObject({
  metadata: z.looseObject({ continue: z.string().optional() }).prefault({}),
  items: z.array(z.unknown()).nullish(),
});
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

/** `where` names the cluster in sentences: the context. */
export function viewCluster(connection: Connection, where: string, signal: AbortSignal): ClusterView {
  async function send(doing: string, request: ApiRequest): Promise<HttpAnswer> {
    try {
      return await connection.send(request, signal);
    } catch (error) {
      signal.throwIfAborted();
      const detail = error instanceof Error ? error.message.replace(/^kubernetes could not be reached /, "") : "";
      throw new PluginError(
        EXIT.failed,
        `The cluster of context ${where} does not answer ${printable(detail)} Nothing was done (${doing}); check the network, or choose another --context.`,
        error,
      );
    }
  }

  /** The parsed body of a 2xx; undefined for an object that is not there. */
  async function ask<T>(doing: string, request: ApiRequest, schema: z.ZodType<T>): Promise<T | undefined> {
    const answer = await send(doing, request);
    if (answer.status >= 200 && answer.status < 300) return parsed(schema, answer, doing);
    if (answer.status === 404 && statusOf(answer)?.details.name !== undefined) return undefined;
    throw refusal(answer, doing, where);
  }

  async function all(doing: string, path: string, query: Readonly<Record<string, string>> = {}): Promise<unknown[]> {
    const items: unknown[] = [];
    let next = "";
    do {
      const asked = { ...query, limit: String(PAGE), ...(next === "" ? {} : { continue: next }) };
      const page = await ask(doing, { method: "GET", path, query: asked }, list);
      items.push(...(page?.items ?? []));
      next = page?.metadata.continue ?? "";
    } while (next !== "");
    return items;
  }

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
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
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
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
      const query = { labelSelector: "app.kubernetes.io/name=unified-rbac" };
      const items = await all(`list pods in namespace ${namespace}`, path, query);
      return items.flatMap((item) => {
        const { data } = podShape.safeParse(item);
        if (data === undefined || data.metadata.deletionTimestamp !== undefined) return [];
        const container = data.status.containerStatuses.find(({ name }) => name === "reconciler");
        return [{ name: data.metadata.name, reconciles: container?.state.running !== undefined }];
      });
    },
    close: () => connection.close(),
  };
}

/** What may not be looked at is left out; everything else is told. */
function onlyForbidden(error: unknown): undefined {
  if (error instanceof PluginError && error.exit === EXIT.forbidden) return undefined;
  throw error;
}

function parsed<T>(schema: z.ZodType<T>, answer: HttpAnswer, doing: string): T {
  try {
    return schema.parse(JSON.parse(answer.text));
  } catch (cause) {
    throw new PluginError(EXIT.failed, `The cluster gave an answer that is not its own (${doing}).`, cause);
  }
}

function statusOf({ text }: HttpAnswer): StatusBody | undefined {
  try {
    return statusBody.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function refusal(answer: HttpAnswer, doing: string, where: string): PluginError {
  const status = statusOf(answer);
  const said = printable(status?.message ?? "");
  switch (answer.status) {
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
      const conflict = status?.details.causes.find(({ reason }) => reason === "FieldManagerConflict");
      return conflict === undefined
        ? new PluginError(
            EXIT.failed,
            `It was changed in the same moment, and nothing was done (${doing}): try again. ${said}`,
          )
        : new PluginError(EXIT.gitOwns, `Nothing was changed: ${printable(conflict.message ?? said)}.`);
    }
    default:
      return new PluginError(EXIT.failed, `The cluster refused to ${doing} (${answer.status}): ${said}`);
  }
}
