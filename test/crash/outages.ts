/** An upstream is gone while many people are committed: nobody is lost or doubled, and how soon they are Ready after it is back. */
import { setTimeout as sleep } from "node:timers/promises";

import { type Sources, takeInventory } from "./inventory.ts";
import { broken, type Inventory, doubled, type ExpectedPerson, stalled } from "./count.ts";
import type { Upstream } from "./effects.ts";
import type { Environment } from "./environment.ts";
import { makeSandbox, type Sandbox } from "./sandbox.ts";
import { inTheEnd, isWhole } from "./invariants.ts";
import { makeFixture } from "./fixture.ts";

export interface Outage {
  readonly upstream: Upstream | "webhook";
  readonly people: number;
  readonly downMs: number;
  /** Ready already when the upstream came back: those who did not need it. */
  readonly readyBefore: number;
  /** From the moment when the upstream was back; undefined when all were Ready by then. */
  readonly firstMs: number | undefined;
  readonly lastMs: number | undefined;
  /** People who did not become Ready. */
  readonly lost: number;
  /** Things beyond one of each for each person; undefined: they could not be counted. */
  readonly doubled: number | undefined;
  /** People who wait for somebody to act. */
  readonly stalled: number | undefined;
  readonly failure: string | undefined;
}

export interface Measure {
  readonly people: number;
  /** At least: what is measured afterwards is measured for one upstream at a time. */
  readonly downMs: number;
}

const PATIENCE_MS = 180_000;
const WHOLE_MS = 60_000;
const LOOK_MS = 50;
/** The decision record's own bound. */
const LATEST_FIRST_MS = 30_000;

/** Who is tried, seen from the side of the people. */
interface Site {
  readonly apply: (name: string) => Promise<unknown>;
  readonly ready: () => Promise<ReadonlySet<string>>;
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  readonly inventory: () => Promise<Inventory>;
  /** Who shall be there in the end, with these. */
  readonly expected: (names: readonly string[]) => ReadonlyMap<string, ExpectedPerson>;
}

export type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

/** `inTurn`: commits and recoveries of several outages, never two at once; what is down may be down together. */
export async function runOutage(
  environment: Environment,
  id: string,
  upstream: Upstream,
  measure: Measure,
  inTurn: InTurn,
): Promise<Outage> {
  const sandbox = await inTurn(() => openSandbox(environment, id));
  try {
    const site: Site = {
      apply: (name) => sandbox.apply(name),
      ready: async () => new Set(await sandbox.readyUsers()),
      down: () => sandbox.down(upstream),
      up: () => sandbox.up(upstream),
      inventory: () => takeInventory(sourcesOf(sandbox)),
      expected: (names) => expectedOf(["first", ...names], (name) => sandbox.email(name)),
    };
    return { upstream, ...(await outage(site, measure, inTurn)) };
  } catch (error) {
    return { upstream, ...failedOutage(measure, error) };
  } finally {
    await sandbox.close();
  }
}

/** Both webhooks are gone, and the API server continues without them, as failurePolicy says. */
export async function runWebhookOutage(environment: Environment, id: string, measure: Measure): Promise<Outage> {
  const fixture = await makeFixture(environment, id);
  try {
    const quarter = await fixture.quarter("plain");
    const pairs = [await fixture.start("a"), await fixture.start("b", ["webhook"])];
    await fixture.ready(quarter);
    const site: Site = {
      apply: (name) => quarter.apply(name),
      ready: () => quarter.ready(),
      down: async () => {
        await Promise.all(pairs.map((pair) => pair.kill("webhook")));
      },
      up: async () => {
        await Promise.all(pairs.map((pair) => pair.start("webhook")));
      },
      inventory: () => takeInventory(fixture.sources(quarter)),
      expected: (names) => expectedOf(names, (name) => quarter.email(name)),
    };
    return { upstream: "webhook", ...(await outage(site, measure, (work) => work())) };
  } catch (error) {
    return { upstream: "webhook", ...failedOutage(measure, error) };
  } finally {
    await fixture.close();
  }
}

async function openSandbox(environment: Environment, id: string): Promise<Sandbox> {
  const sandbox = await makeSandbox(environment, id, {}, { doors: true });
  sandbox.start();
  await sandbox.apply("first");
  await inTheEnd(() => isWhole(sandbox, "first"), PATIENCE_MS);
  return sandbox;
}

async function outage(site: Site, { people, downMs }: Measure, inTurn: InTurn): Promise<Omit<Outage, "upstream">> {
  const names = Array.from({ length: people }, (_, index) => `person-${index + 1}`);
  await inTurn(async () => {
    await site.down();
    for (const name of names) await site.apply(name);
  });
  await sleep(downMs);
  return inTurn(async () => {
    const before = await readyAmong(site, names);
    await site.up();
    const back = Date.now();
    let firstMs: number | undefined;
    let ready = before;
    while (ready < people && Date.now() - back < PATIENCE_MS) {
      await sleep(LOOK_MS);
      ready = await readyAmong(site, names);
      if (ready > before) firstMs ??= Date.now() - back;
    }
    const lastMs = before === people ? undefined : Date.now() - back;
    const { failure, ...counts } = await countedInTheEnd(site, names);
    const late = firstMs !== undefined && firstMs > LATEST_FIRST_MS ? "the first came too late" : undefined;
    return {
      people,
      downMs,
      readyBefore: before,
      firstMs,
      lastMs,
      lost: people - ready,
      ...counts,
      failure: failure ?? late,
    };
  });
}

function failedOutage({ people, downMs }: Measure, error: unknown): Omit<Outage, "upstream"> {
  const failure = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  return {
    people,
    downMs,
    readyBefore: 0,
    firstMs: undefined,
    lastMs: undefined,
    lost: people,
    doubled: undefined,
    stalled: undefined,
    failure,
  };
}

async function readyAmong(site: Site, names: readonly string[]): Promise<number> {
  const ready = await site.ready();
  return names.filter((name) => ready.has(name)).length;
}

async function countedInTheEnd(
  { inventory, expected }: Site,
  names: readonly string[],
): Promise<Pick<Outage, "doubled" | "stalled" | "failure">> {
  for (const until = Date.now() + WHOLE_MS; ; await sleep(500)) {
    const counted = await inventory().catch((error: unknown) => String(error));
    const wrong = typeof counted === "string" ? [counted] : broken(counted, expected(names));
    if (wrong.length > 0 && Date.now() < until) continue;
    const counts =
      typeof counted === "string"
        ? { doubled: undefined, stalled: undefined }
        : { doubled: doubled(counted), stalled: stalled(counted) };
    return { ...counts, failure: wrong.length === 0 ? undefined : wrong.slice(0, 5).join("; ") };
  }
}

function expectedOf(names: readonly string[], email: (name: string) => string): ReadonlyMap<string, ExpectedPerson> {
  const person = (name: string): ExpectedPerson => ({
    email: email(name),
    enabled: true,
    groups: undefined,
    secretName: undefined,
  });
  return new Map(names.map((name) => [name, person(name)]));
}

function sourcesOf(sandbox: Sandbox): Sources {
  const { id, namespace, environment, db, realm, gateway } = sandbox;
  return {
    tenant: id,
    namespace,
    dialect: "admin-v1",
    api: environment.api,
    db,
    realm,
    gateway,
    opens: (apiKey) => sandbox.opens(apiKey),
    events: (uuids) => Promise.resolve(uuids.flatMap((uuid) => environment.events(uuid))),
  };
}
