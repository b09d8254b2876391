import type { Bus } from "../bus/bus.ts";
import type { Part } from "../lib/lifecycle.ts";

/** Notifies at every heartbeat and kick, and closes the bus at the end: it is the last to need it. */
export function makeHeartbeatConsumer(deps: { readonly bus: Bus; readonly notify: () => void }): Part {
  return {
    name: "heartbeat consumer",
    start: () => deps.bus.consumeHeartbeat(deps.notify),
    stop: () => deps.bus.close(),
  };
}
