import { randomInt } from "node:crypto";
import { createServer } from "node:net";

export const portNames = [
  "etcd",
  "etcdPeer",
  "apiserver",
  "controllerManager",
  "sourceStorage",
  "sourceMetrics",
  "sourceHealth",
  "kustomizeMetrics",
  "kustomizeHealth",
  "gitea",
  "keycloak",
  "postgres",
  "nats",
  "natsMonitor",
  "newapi",
  "scheduler",
] as const;
export type PortName = (typeof portNames)[number];
export type Ports = Readonly<Record<PortName, number>>;

/**
 * Below the range from which the kernel takes ports for outgoing connections:
 * else, while a test holds a part down, any client could be given its port.
 */
const lowest = 20_000;
const beyond = 32_000;

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Keeps the ports a stack already has where they are still free, and finds free ones for the rest. */
export async function choosePorts(known: Partial<Ports>, avoid: ReadonlySet<number>): Promise<Ports> {
  const taken = new Set(avoid);
  const chosen: Partial<Record<PortName, number>> = {};
  for (const name of portNames) {
    let port = known[name];
    while (port === undefined || taken.has(port) || !(await isFree(port))) port = randomInt(lowest, beyond);
    taken.add(port);
    chosen[name] = port;
  }
  return chosen as Ports;
}
