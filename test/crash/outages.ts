/** A neighbour is gone while many people are committed: nobody is lost or doubled, and how soon they are Ready after it is back. */
import type { Neighbour } from "./effects.ts";
import type { Ground } from "./ground.ts";
import { makePlace, type Place } from "./place.ts";
import { inTheEnd, isWhole } from "./promise.ts";

export interface Outage {
  readonly neighbour: Neighbour;
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

const PATIENCE_MS = 180_000;
const LOOK_MS = 50;

export async function runOutage(
  ground: Ground,
  id: string,
  neighbour: Neighbour,
  { people, downMs }: { readonly people: number; readonly downMs: number },
): Promise<Outage> {
  const place = await makePlace(ground, id, {}, { doors: true });
  try {
    place.start();
    await place.apply("first");
    await inTheEnd(() => isWhole(place, "first"), PATIENCE_MS);

    await place.down(neighbour);
    const names = Array.from({ length: people }, (_, index) => `person-${index + 1}`);
    for (const name of names) await place.apply(name);
    await new Promise((resolve) => setTimeout(resolve, downMs));
    const before = await readyAmong(place, names);
    await place.up(neighbour);
    const back = Date.now();

    let firstMs: number | undefined;
    let ready = before;
    while (ready < people && Date.now() - back < PATIENCE_MS) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      ready = await readyAmong(place, names);
      if (ready > before) firstMs ??= Date.now() - back;
    }
    const lastMs = before === people ? undefined : Date.now() - back;
    const failure = await whole(place, ["first", ...names]);
    return { neighbour, people, downMs, readyBefore: before, firstMs, lastMs, lost: people - ready, failure };
  } finally {
    await place.close();
  }
}

async function readyAmong(place: Place, names: readonly string[]): Promise<number> {
  const ready = new Set(await place.readyUsers());
  return names.filter((name) => ready.has(name)).length;
}

/** Everybody has one of each thing, and nobody shares one. */
async function whole(place: Place, names: readonly string[]): Promise<string | undefined> {
  try {
    await inTheEnd(async () => {
      for (const name of names) await isWhole(place, name, { people: names.length });
    }, 60_000);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  }
}
