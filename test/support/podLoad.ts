/** Writes of TenantUsers without a pause, each checked for whether the product has admitted it. */
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "vitest";
import * as z from "zod";

import { FINALIZER } from "../../src/api/meta.ts";
import type { ApiServer } from "./apiServer.ts";
import type { TestTenant } from "./tenant.ts";

export interface LoadResult {
  readonly writes: number;
  /** Writes that the API server let pass without the mutating webhook: the object lacks the finalizer. */
  readonly unmutated: readonly string[];
  /** How often the API server passed over one of our webhooks, as it counts itself. */
  readonly skipped: number;
  /** Names of the people that were really written. */
  readonly people: readonly string[];
}

export interface Load {
  /** Writes so far. */
  readonly writes: () => number;
  /** Again: the same result. */
  stop(): Promise<LoadResult>;
}

const WRITERS = 3;
const PAUSE_MS = 15;
/** Every so many writes is a real one, of a suspended person; the rest are dry runs, as Flux makes before it applies. */
const REAL = 10;
/** So many people of each writer, whose specs change again and again: each is somebody to remove at the end. */
const PEOPLE = 4;

const written = z.looseObject({ metadata: z.looseObject({ finalizers: z.array(z.string()).default([]) }) });

export async function startLoad(api: ApiServer, tenant: TestTenant, label: string): Promise<Load> {
  const skippedBefore = await skippedReviews(api);
  const stopping = new AbortController();
  const people = new Set<string>();
  const unmutated: string[] = [];
  let writes = 0;
  let ended: LoadResult | undefined;
  const writer = async (number: number): Promise<void> => {
    for (let turn = 0; !stopping.signal.aborted; turn += 1) {
      const real = turn % REAL === 0;
      const name = `${label}-${number}-${real ? (turn / REAL) % PEOPLE : "dry"}`;
      const spec = { suspend: true, displayName: `Turn ${turn}` };
      const { status, body } = await tenant.apply(name, spec, { dryRun: !real });
      assert(status === 200 || status === 201, `${name} was answered with ${status}: ${JSON.stringify(body)}`);
      writes += 1;
      if (real) people.add(name);
      if (!written.parse(body).metadata.finalizers.includes(FINALIZER))
        unmutated.push(`${name} at ${new Date().toISOString()}`);
      await sleep(PAUSE_MS);
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, number) => writer(number));
  // The failure is for whoever stops the load.
  for (const each of writers) each.catch(() => {});
  return {
    writes: () => writes,
    async stop() {
      stopping.abort();
      await Promise.all(writers);
      return (ended ??= {
        writes,
        unmutated,
        people: [...people],
        skipped: (await skippedReviews(api)) - skippedBefore,
      });
    },
  };
}

/** Reviews that failed and were passed over, as failurePolicy Ignore says. */
async function skippedReviews(api: ApiServer): Promise<number> {
  const lines = (await api.text("/metrics")).matchAll(
    /^apiserver_admission_webhook_fail_open_count\{name="[a-z]+\.tenantusers\.catalyst\.openova\.io"[^}]*\} (\d+)$/gm,
  );
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}
