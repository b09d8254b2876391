import type { Bus } from "../bus/bus.ts";
import type { Part } from "../lib/lifecycle.ts";

/** Turns heartbeats and kicks into `look`, and closes the bus at the end: it is the last to need it. */
export function makeHeartbeatConsumer(deps: { readonly bus: Bus; readonly look: () => void }): Part {
  return {
    name: "heartbeat consumer",
    start: () => deps.bus.consumeHeartbeat(deps.look),
    stop: () => deps.bus.close(),
  };
}
