/** What an upstream that hangs, or is dead, costs those who have nothing to do with it. */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";

import type { Environment } from "./environment.ts";
import { makeFixture, isReady, type Quarter, type Fixture } from "./fixture.ts";
import { type Door, makeDoor } from "./faults.ts";

export interface Isolation {
  readonly waiting: number;
  readonly hungMs: number;
  /** People of the other tenant, one after the other: before and after, and while the upstream hung. */
  readonly quiet: readonly number[];
  readonly meanwhile: readonly number[];
  /** Of the medians. */
  readonly ratio: number;
  /** Whether the goal counts: too few samples, on a machine that others may use, prove no slowness. */
  readonly isJudged: boolean;
  /** Who waited is Ready in the end. */
  readonly failure: string | undefined;
}

export interface DeadOrigin {
  readonly waiting: number;
  readonly tenants: number;
  readonly watchedMs: number;
  /** Connections that came to the door meanwhile; one process knocked. */
  readonly knocks: number;
  readonly failure: string | undefined;
}

const GOAL = 1.5;
const PATIENCE_MS = 180_000;
const LOOK_MS = 20;

/** One tenant's Keycloak takes every call and answers none; the other tenant's people continue as on a quiet day. */
export async function runIsolation(
  environment: Environment,
  id: string,
  {
    waiting,
    hungMs,
    samples,
    isJudged,
  }: { readonly waiting: number; readonly hungMs: number; readonly samples: number; readonly isJudged: boolean },
): Promise<Isolation> {
  const door = await keycloakDoor(environment);
  const fixture = await makeFixture(environment, id);
  try {
    const hung = await fixture.quarter("hung", { keycloakURL: door.url });
    const calm = await fixture.quarter("calm");
    await fixture.start("isolation", ["reconciler"]);
    await Promise.all([fixture.ready(hung), fixture.ready(calm)]);
    let number = 0;
    const measure = async (): Promise<number> => {
      const name = `calm-${(number += 1)}`;
      const began = performance.now();
      await calm.apply(name);
      await untilReady(calm, name);
      return performance.now() - began;
    };
    const series = async (carryOn: (count: number) => boolean): Promise<number[]> => {
      const times: number[] = [];
      while (carryOn(times.length)) times.push(await measure());
      return times;
    };

    // Not counted: what is only ever slow the first time.
    await series((count) => count < 3);
    const before = await series((count) => count < samples);
    door.mute(true);
    const people = await commitAll(hung, waiting);
    await untilKnown(fixture, hung, waiting);
    const until = Date.now() + hungMs;
    const meanwhile = await series((count) => Date.now() < until || count < samples);
    door.mute(false);
    const failure = await allReady(hung, people);
    const after = await series((count) => count < samples);
    const quiet = [...before, ...after];
    return { waiting, hungMs, quiet, meanwhile, ratio: median(meanwhile) / median(quiet), isJudged, failure };
  } finally {
    await fixture.close();
    await door.close();
  }
}

/** Many sagas of several tenants behind one origin where nobody is: how often one process goes there. */
export async function runDeadOrigin(
  environment: Environment,
  id: string,
  size: { readonly waiting: number; readonly tenants: number; readonly watchedMs: number },
): Promise<DeadOrigin> {
  const door = await keycloakDoor(environment);
  const fixture = await makeFixture(environment, id);
  try {
    const realm = await environment.takeRealm();
    const quarters: Quarter[] = [];
    for (let n = 1; n <= size.tenants; n += 1) {
      quarters.push(await fixture.quarter(`dead-${n}`, { keycloakURL: door.url, realm }));
    }
    await fixture.start("isolation", ["reconciler"]);
    await Promise.all(quarters.map((quarter) => fixture.ready(quarter)));
    door.slam(true);
    const share = Math.ceil(size.waiting / size.tenants);
    await Promise.all(quarters.map((quarter) => commitAll(quarter, share)));
    const waiting = share * size.tenants;
    const failure = await allWaiting(quarters, share);
    const before = door.knocks();
    await sleep(size.watchedMs);
    return { ...size, waiting, knocks: door.knocks() - before, failure };
  } finally {
    await fixture.close();
    await door.close();
  }
}

/** `undefined`: as promised. */
export function isolationBroken({ ratio, isJudged, failure }: Isolation): string | undefined {
  if (failure !== undefined) return failure;
  return !isJudged || ratio <= GOAL
    ? undefined
    : `another tenant's people took ${ratio.toFixed(2)} times as long, not ${GOAL}`;
}

export function deadOriginBroken({ knocks, watchedMs, failure }: DeadOrigin): string | undefined {
  if (failure !== undefined) return failure;
  // One more: the interval has two ends.
  const most = Math.floor(watchedMs / 1000) + 1;
  return knocks <= most ? undefined : `there were ${knocks} calls in ${watchedMs / 1000} s, not ${most}`;
}

async function keycloakDoor({ env }: Environment): Promise<Door & { readonly url: string }> {
  const url = new URL(env.KEYCLOAK_URL);
  const door = await makeDoor({ host: url.hostname, port: Number(url.port) });
  url.port = String(door.port);
  return { ...door, url: url.href.replace(/\/$/, "") };
}

async function commitAll(quarter: Quarter, count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, index) => `waiting-${index + 1}`);
  const limit = pLimit(8);
  await Promise.all(names.map((name) => limit(() => quarter.apply(name))));
  return names;
}

async function untilReady(quarter: Quarter, name: string): Promise<void> {
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(LOOK_MS)) {
    const user = await quarter.user(name).catch(() => undefined);
    if (user !== undefined && isReady(user)) return;
  }
  throw new Error(`${name} did not become ready`);
}

/** Until each has a row: from then on it waits for Keycloak alone. */
async function untilKnown({ db }: Fixture, { id }: Quarter, count: number): Promise<void> {
  const text = "select 1 from user_provision_state where sme_tenant_id = $1 and confirmed_at is not null";
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(250)) {
    if (((await db.query(text, [id])).rowCount ?? 0) >= count) return;
  }
  throw new Error(`not all ${count} have a row`);
}

async function allReady(quarter: Quarter, names: readonly string[]): Promise<string | undefined> {
  let ready = 0;
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(500)) {
    const all: ReadonlySet<string> = await quarter.ready().catch(() => new Set());
    ready = names.filter((name) => all.has(name)).length;
    if (ready === names.length) return undefined;
  }
  return `${names.length - ready} of ${names.length} who waited did not become ready`;
}

/** Each says that its upstream does not answer. */
async function allWaiting(quarters: readonly Quarter[], each: number): Promise<string | undefined> {
  let said = 0;
  const wanted = each * quarters.length;
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(1000)) {
    const users = (await Promise.all(quarters.map((quarter) => quarter.users()))).flat();
    said = users.filter(({ status }) =>
      status?.conditions?.some(({ type, reason }) => type === "Ready" && reason === "UpstreamUnavailable"),
    ).length;
    if (said === wanted) return undefined;
  }
  return `${wanted - said} of ${wanted} do not say that their upstream is unavailable`;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}
