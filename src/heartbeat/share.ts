import { createHash } from "node:crypto";

/**
 * Which of the living workers watches a namespace: the one with the highest weight (rendezvous hashing). Everybody who
 * sees the same living names the same one, and when somebody comes or goes only his namespaces move.
 */
export function watcherOf(namespace: string, living: readonly number[]): number | undefined {
  const weighed = living.map((owner) => ({ owner, weight: weight(namespace, owner) }));
  return weighed.toSorted((a, b) => b.weight - a.weight || a.owner - b.owner)[0]?.owner;
}

function weight(namespace: string, owner: number): number {
  return createHash("sha256").update(`${owner}/${namespace}`).digest().readUIntBE(0, 6);
}
