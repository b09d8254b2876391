/** A neighbour is gone while many people are committed: nobody is lost or doubled, and how soon they are Ready after it is back. */
import { setTimeout as sleep } from "node:timers/promises";

import { type Sources, takeCensus } from "./census.ts";
import { broken, type ExpectedPerson } from "./count.ts";
import type { Neighbour } from "./effects.ts";
import type { Ground } from "./ground.ts";
import { makePlace, type Place } from "./place.ts";
import { inTheEnd, isWhole } from "./promise.ts";
import { foundTown } from "./town.ts";

export interface Outage {
  readonly neighbour: Neighbour | "webhook";
  readonly people: number;
  readonly downMs: number;
  /** Ready already when the neighbour came back: those who did not need it. */
  readonly readyBefore: number;
  /** From the moment when the neighbour was back; undefined when all were Ready by then. */
  readonly firstMs: number | undefined;
  readonly lastMs: number | undefined;
  /** People who did not become Ready. */
  readonly lost: number;
  readonly failure: string | undefined;
}

export interface Measure {
  readonly people: number;
  /** At least: what is measured afterwards is measured for one neighbour at a time. */
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
  /** What is wrong in the end; these shall be there. */
  readonly wrong: (names: readonly string[]) => Promise<string[]>;
}

export type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

/** `inTurn`: commits and recoveries of several outages, never two at once; what is down may be down together. */
export async function runOutage(
  ground: Ground,
  id: string,
  neighbour: Neighbour,
  measure: Measure,
  inTurn: InTurn,
): Promise<Outage> {
  const place = await inTurn(() => openPlace(ground, id));
  try {
    const site: Site = {
      apply: (name) => place.apply(name),
      ready: async () => new Set(await place.readyUsers()),
      down: () => place.down(neighbour),
      up: () => place.up(neighbour),
      wrong: async (names) =>
        broken(
          await takeCensus(sourcesOf(place)),
          expectedOf(["first", ...names], (name) => place.email(name)),
        ),
    };
    return { neighbour, ...(await outage(site, measure, inTurn)) };
  } catch (error) {
    return { neighbour, ...failedOutage(measure, error) };
  } finally {
    await place.close();
  }
}

/** Both webhooks are gone, and the API server goes on without them, as failurePolicy says. */
export async function runWebhookOutage(ground: Ground, id: string, measure: Measure): Promise<Outage> {
  const town = await foundTown(ground, id);
  try {
    const quarter = await town.quarter("plain");
    const pairs = [await town.start("a"), await town.start("b", ["webhook"])];
    await town.ready(quarter);
    const site: Site = {
      apply: (name) => quarter.apply(name),
      ready: () => quarter.ready(),
      down: async () => {
        await Promise.all(pairs.map((pair) => pair.kill("webhook")));
      },
      up: async () => {
        await Promise.all(pairs.map((pair) => pair.start("webhook")));
      },
      wrong: async (names) =>
        broken(
          await takeCensus(town.sources(quarter)),
          expectedOf(names, (name) => quarter.email(name)),
        ),
    };
    return { neighbour: "webhook", ...(await outage(site, measure, (work) => work())) };
  } catch (error) {
    return { neighbour: "webhook", ...failedOutage(measure, error) };
  } finally {
    await town.close();
  }
}

async function openPlace(ground: Ground, id: string): Promise<Place> {
  const place = await makePlace(ground, id, {}, { doors: true });
  place.start();
  await place.apply("first");
  await inTheEnd(() => isWhole(place, "first"), PATIENCE_MS);
  return place;
}

async function outage(site: Site, { people, downMs }: Measure, inTurn: InTurn): Promise<Omit<Outage, "neighbour">> {
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
    const failure = await wrongInTheEnd(site, names);
    const late = firstMs !== undefined && firstMs > LATEST_FIRST_MS ? "the first came too late" : undefined;
    return { people, downMs, readyBefore: before, firstMs, lastMs, lost: people - ready, failure: failure ?? late };
  });
}

function failedOutage({ people, downMs }: Measure, error: unknown): Omit<Outage, "neighbour"> {
  const failure = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  return { people, downMs, readyBefore: 0, firstMs: undefined, lastMs: undefined, lost: people, failure };
}

async function readyAmong(site: Site, names: readonly string[]): Promise<number> {
  const ready = await site.ready();
  return names.filter((name) => ready.has(name)).length;
}

async function wrongInTheEnd(site: Site, names: readonly string[]): Promise<string | undefined> {
  for (const until = Date.now() + WHOLE_MS; ; await sleep(500)) {
    const wrong = await site.wrong(names).catch((error: unknown) => [String(error)]);
    if (wrong.length === 0) return undefined;
    if (Date.now() > until) return wrong.slice(0, 5).join("; ");
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

function sourcesOf(place: Place): Sources {
  const { id, namespace, ground, db, realm, gateway } = place;
  return {
    tenant: id,
    namespace,
    dialect: "admin-v1",
    api: ground.api,
    db,
    realm,
    gateway,
    opens: (apiKey) => place.opens(apiKey),
    events: (uuids) => Promise.resolve(uuids.flatMap((uuid) => ground.events(uuid))),
  };
}
