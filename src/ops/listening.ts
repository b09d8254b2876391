import type { Server } from "node:http";
import type { Address } from "../lib/configVariables.ts";

export interface Listening {
  /** The port in use, known after the start. */
  port(): number;
  /** Rejects when the address cannot be had. */
  start(): Promise<void>;
  /** Ends the open connections too. */
  stop(): Promise<void>;
}

/** A server of ours on its address; `failed` hears what goes wrong with it after the start. */
export function listening(server: Server, address: Address, failed: (error: Error) => void): Listening {
  return {
    port() {
      const bound = server.address();
      return bound !== null && typeof bound === "object" ? bound.port : 0;
    },
    start: () =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(address.port, address.host, () => {
          server.off("error", reject);
          server.on("error", failed);
          resolve();
        });
      }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
