import type { Tracer } from "../lib/tracing.ts";
import type { Bus, UserEvent } from "./bus.ts";
import { EVENT_SUBJECT } from "./streams.ts";

/** Sends an event in the trace of what it tells of; where that was not traced, in none. */
export type Publish = (event: UserEvent, signal: AbortSignal, traceparent: string | undefined) => Promise<void>;

export function makePublish({ bus, tracer }: { readonly bus: Bus; readonly tracer: Tracer }): Publish {
  return (event, signal, traceparent) => {
    const send = (): Promise<void> => bus.publishEvent(event, signal);
    if (traceparent === undefined) return send();
    const attributes = {
      "messaging.system": "nats",
      "messaging.operation.name": "publish",
      "messaging.operation.type": "send",
      "messaging.destination.name": EVENT_SUBJECT,
      "messaging.message.id": event.id,
      "unified_rbac.user.uuid": event.data.sme_user_uuid,
      "unified_rbac.tenant.id": event.tenant_id,
    } as const;
    return tracer.inTrace(traceparent, `publish ${EVENT_SUBJECT}`, { kind: "producer", attributes }, send);
  };
}
