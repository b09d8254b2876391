/** Kubernetes Events, for people who ask `kubectl describe`. Losing one loses nothing. */
import { API_VERSION, FIELD_MANAGER, GROUP } from "../api/meta.ts";
import type { Random } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import { pathSegment } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import type { Cluster, EventNote } from "./cluster.ts";
import type { ApiClient } from "./apiClient.ts";
import { NAMESPACE_TERMINATING } from "./classify.ts";
import { demand } from "./exchange.ts";
import { cutBytes, plainText } from "../lib/text.ts";

export const REPORTING_CONTROLLER = `${GROUP}/${FIELD_MANAGER}`;

/** The API server's limits. */
const NOTE_BYTES = 1024;
const FIELD_CHARS = 128;

/**
 * Events about cluster-scoped objects: the API server takes them in no other namespace, and `kubectl describe` finds
 * only those whose object has none. (Needs `create events` there.)
 */
const CLUSTER_SCOPED_NAMESPACE = "default";

export interface EventDeps {
  readonly log: Log;
  readonly random: Random;
  /** This Pod's name. */
  readonly instance: string;
}

export function makeEvents(connection: ApiClient, deps: EventDeps): Pick<Cluster, "recordEvent"> {
  return {
    async recordEvent(event, signal) {
      const namespace = event.object.namespace ?? CLUSTER_SCOPED_NAMESPACE;
      const request = {
        method: "POST",
        path: `/apis/events.k8s.io/v1/namespaces/${pathSegment(namespace)}/events`,
        query: { fieldManager: FIELD_MANAGER },
        body: eventBody(event, namespace, deps, connection.clock.now()),
      } as const;
      try {
        await demand(connection, { doing: `create events in ${namespace}`, request }, signal);
      } catch (error) {
        const { name } = event.object;
        const expected = isSagaError(error) && error.code === NAMESPACE_TERMINATING;
        deps.log[expected ? "debug" : "warn"]("failed to write an Event", {
          namespace,
          name,
          reason: event.reason,
          error,
        });
      }
    },
  };
}

function eventBody(event: EventNote, namespace: string, deps: EventDeps, now: number) {
  const { kind, name, uid } = event.object;
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    // Not generateName: one that ends in a dot is refused.
    metadata: { name: `${name.slice(0, 220)}.${now.toString(16)}${suffix(deps.random)}`, namespace },
    // A MicroTime: six digits, no fewer.
    eventTime: new Date(now).toISOString().replace("Z", "000Z"),
    type: event.type,
    reason: event.reason.slice(0, FIELD_CHARS),
    action: event.action.slice(0, FIELD_CHARS),
    note: cut(plainText(event.note), NOTE_BYTES),
    reportingController: REPORTING_CONTROLLER,
    reportingInstance: deps.instance.slice(0, FIELD_CHARS),
    regarding: { apiVersion: API_VERSION, kind, name, uid, namespace: event.object.namespace },
  };
}

function suffix(random: Random): string {
  return Math.floor(random() * 0x1_0000_0000)
    .toString(16)
    .padStart(8, "0");
}

/** The API server counts bytes. */
function cut(text: string, bytes: number): string {
  const begun = cutBytes(text, bytes);
  return begun === text ? text : `${cutBytes(text, bytes - 3)}…`;
}
