/** The same people, by us and by the floor. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { API_VERSION } from "../src/api/meta.ts";
import { askChild } from "./children.ts";
import type { FloorTask } from "./floors/people.ts";
import { type BenchTenant, FLOOR_KIND, type Environment, type Place } from "./environment.ts";

const applied = z.object({ beganAt: z.number(), endedAt: z.number() });
const done = z.object({ seconds: z.number(), p50: z.number() });

const LOOK_EVERY_MS = 100;
/** Whoever makes nobody in so long will make nobody at all. */
const GIVEN_UP_MS = 60_000;

export interface BurstTimes {
  /** From the first apply sent until the last person's row says done, which is after the object says Ready. */
  readonly seconds: number;
  readonly applySeconds: number;
}

/** Applies so many people at once, spread over the tenants, and waits until all are Ready. */
export async function burst(
  environment: Environment,
  place: Place,
  tenants: readonly BenchTenant[],
  { prefix, count, concurrency = 16 }: { prefix: string; count: number; concurrency?: number },
): Promise<BurstTimes> {
  const before = await ready(place);
  const applying = askChild(
    "load/applies.ts",
    {
      kubeconfig: environment.env.KUBECONFIG,
      paths: tenants.map(({ path }) => path),
      apiVersion: API_VERSION,
      kind: "TenantUser",
      prefix,
      count,
      concurrency,
    },
    applied,
  );
  applying.catch(() => undefined);
  for (let last = 0, lastAt = Date.now(); ; await sleep(LOOK_EVERY_MS)) {
    const now = (await ready(place)) - before;
    const at = Date.now();
    if (now === count) {
      const { beganAt, endedAt } = await applying;
      return { seconds: (at - beganAt) / 1000, applySeconds: (endedAt - beganAt) / 1000 };
    }
    if (now > last) [last, lastAt] = [now, at];
    if (at - lastAt > GIVEN_UP_MS) throw new Error(`only ${now} of ${count} people got Ready`);
  }
}

async function ready({ db }: Place): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from user_provision_state where state = 'done' and run is null",
  );
  return rows[0]?.n ?? 0;
}

export interface FloorTimes {
  /** Of the four calls for all people. */
  readonly seconds: number;
  readonly p50: number;
  /** Of applying the objects before that. */
  readonly applySeconds: number;
}

/** The four calls for so many people, with their objects applied before. */
export async function floorPeople(
  environment: Environment,
  tenant: BenchTenant,
  { prefix, count, concurrency }: { prefix: string; count: number; concurrency: number },
): Promise<FloorTimes> {
  const { env } = environment;
  const { apiVersion, kind, plural } = FLOOR_KIND;
  const path = `/apis/${apiVersion}/namespaces/${tenant.namespace}/${plural}`;
  const { beganAt, endedAt } = await askChild(
    "load/applies.ts",
    { kubeconfig: env.KUBECONFIG, paths: [path], apiVersion, kind, prefix, count, concurrency: 16 },
    applied,
  );
  const times = await askChild(
    "floors/people.ts",
    floorTask(environment, tenant, { prefix, count, concurrency }),
    done,
  );
  return { ...times, applySeconds: (endedAt - beganAt) / 1000 };
}

export function floorTask(
  { env }: Environment,
  { namespace, realm }: BenchTenant,
  more: { prefix: string; count: number; concurrency: number },
): FloorTask {
  const { apiVersion, kind, plural } = FLOOR_KIND;
  return {
    kubeconfig: env.KUBECONFIG,
    keycloak: { url: env.KEYCLOAK_URL, realm: realm.realm, clientID: realm.clientID, secret: realm.clientSecret },
    newapi: { url: env.NEWAPI_URL, token: env.NEWAPI_ADMIN_TOKEN },
    namespace,
    apiVersion,
    kind,
    plural,
    ...more,
  };
}

const CONCURRENCIES = [8, 16, 32] as const;

/** The concurrency at which the floor is fastest on this machine. */
export async function bestConcurrency(environment: Environment, tenant: BenchTenant, count: number): Promise<number> {
  let best = { concurrency: 1, seconds: Infinity };
  for (const concurrency of CONCURRENCIES) {
    const { seconds } = await floorPeople(environment, tenant, { prefix: `c${concurrency}`, count, concurrency });
    if (seconds < best.seconds) best = { concurrency, seconds };
  }
  return best.concurrency;
}
