/** Applies people as Flux would, so many at once; says when the first was sent, when the last was answered, and how long one took in each place. */
import pLimit from "p-limit";

import { percentile } from "../figures.ts";
import { applyRequest, connectApi } from "../kube.ts";

interface Task {
  readonly kubeconfig: string;
  /** Collections; the people are spread over them in turn. */
  readonly paths: readonly string[];
  readonly apiVersion: string;
  readonly kind: string;
  readonly prefix: string;
  readonly count: number;
  readonly concurrency: number;
}

const task = JSON.parse(process.argv[2] ?? "") as Task;
const api = await connectApi(task.kubeconfig);
const latencies: number[][] = task.paths.map(() => []);
const limit = pLimit(task.concurrency);

async function apply(n: number): Promise<void> {
  const at = n % task.paths.length;
  const path = task.paths[at] ?? "";
  const name = `${task.prefix}-${n}`;
  const began = performance.now();
  await api.send(applyRequest(path, name, `${name}@bench.example`, task.apiVersion, task.kind));
  latencies[at]?.push(performance.now() - began);
}

const beganAt = Date.now();
await Promise.all(Array.from({ length: task.count }, (_, n) => limit(apply, n)));
const endedAt = Date.now();
api.close();
const p50s = latencies.map((of) =>
  percentile(
    of.toSorted((a, b) => a - b),
    0.5,
  ),
);
console.log(JSON.stringify({ beganAt, endedAt, p50s }));
