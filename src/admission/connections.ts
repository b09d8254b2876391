/** How many connections there may be, and whose is closed when there are more. */
import type { Socket } from "node:net";

/** One of the API server's carries one request at a time, and is used again. */
export const MOST_CONNECTIONS = 512;

export interface Connections {
  /** A new one, before its handshake. */
  add(socket: Socket): void;
  /** A whole request has come over it: it is left alone until the returned function is called. */
  answering(socket: Socket): () => void;
  count(): number;
}

interface Open {
  readonly key: string;
  readonly socket: Socket;
  readonly address: string;
  answering: number;
}

/**
 * When there are too many, the address that has most of them loses the one that was quiet longest, so that somebody who
 * opens many closes their own. One with a request that is being answered is never closed.
 */
export function makeConnections(most = MOST_CONNECTIONS): Connections {
  /** By address and port, for a TLS socket is another object than the one below it; the one used last stands last. */
  const all = new Map<string, Open>();

  function closeOne(): void {
    const perAddress = new Map<string, number>();
    for (const { address } of all.values()) perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
    let victim: Open | undefined;
    for (const open of all.values()) {
      if (open.answering > 0) continue;
      if (victim === undefined || (perAddress.get(open.address) ?? 0) > (perAddress.get(victim.address) ?? 0)) {
        victim = open;
      }
    }
    if (victim === undefined) return;
    all.delete(victim.key);
    victim.socket.destroy();
  }

  return {
    count: () => all.size,
    add(socket) {
      const key = keyOf(socket);
      const open: Open = { key, socket, address: socket.remoteAddress ?? "", answering: 0 };
      all.set(key, open);
      socket.once("close", () => {
        if (all.get(key) === open) all.delete(key);
      });
      if (all.size > most) closeOne();
    },
    answering(socket) {
      const key = keyOf(socket);
      const open = all.get(key);
      if (open === undefined) return () => undefined;
      open.answering += 1;
      return () => {
        open.answering -= 1;
        if (all.get(key) !== open) return;
        all.delete(key);
        all.set(key, open);
      };
    },
  };
}

/** The same for a TLS socket and the one below it, as long as the connection is open. */
function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
