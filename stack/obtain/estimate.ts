/** How far obtaining the parts is, and how long it will take: from what each took here the last time, or takes elsewhere. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

import { readIfThere, writeAtomically } from "../files.ts";
import { cacheRoot } from "../paths.ts";

/** Measured on two quiet cores, in seconds, with nothing in Go's own cache. */
const TYPICAL_SECONDS: Readonly<Record<string, number>> = {
  kubernetes: 293,
  "source-controller": 148,
  gitea: 129,
  "kustomize-controller": 122,
  keycloak: 50,
  etcd: 20,
  nats: 11,
};
const UNKNOWN_SECONDS = 60;
/** What is left is stretched by what was wrong until now, but by no more. */
const STRETCH = { least: 0.2, most: 8 };

export interface PartProgress {
  readonly expectedSeconds: number;
  /** Parts of one lane come one after the other, lanes side by side. */
  readonly lane: string;
  /** Seconds so far, or in the end; undefined: it waits for its turn. */
  readonly spentSeconds: number | undefined;
  readonly done: boolean;
}

/** Pure. Seconds until the last one is there; 0 when all are. */
export function secondsLeft(parts: readonly PartProgress[]): number {
  const over = parts.filter(({ done }) => done);
  const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);
  const expected = sum(over.map(({ expectedSeconds }) => expectedSeconds));
  const spent = sum(over.map(({ spentSeconds = 0 }) => spentSeconds));
  const stretch = expected === 0 ? 1 : Math.min(STRETCH.most, Math.max(STRETCH.least, spent / expected));
  const lanes = Map.groupBy(
    parts.filter(({ done }) => !done),
    ({ lane }) => lane,
  );
  const ofLane = [...lanes.values()].map((all) =>
    sum(all.map(({ expectedSeconds, spentSeconds = 0 }) => Math.max(0, expectedSeconds * stretch - spentSeconds))),
  );
  return Math.max(0, ...ofLane);
}

/** "about 9 min left", of seconds. */
export function sayLeft(seconds: number): string {
  if (seconds < 10) return "a moment left";
  return seconds < 90 ? `about ${Math.ceil(seconds / 10) * 10} s left` : `about ${Math.round(seconds / 60)} min left`;
}

export interface Estimate {
  begin(name: string): void;
  /** It is there. What was built is remembered for the next time. */
  done(name: string): void;
  /** "3 of 8, about 9 min left". */
  text(): string;
}

/** `missing`: names and lanes of what has to be built or fetched; `present`: how many others there are. */
export function makeEstimate(
  missing: readonly { readonly name: string; readonly lane: string }[],
  present: number,
  now: () => number = () => performance.now(),
): Estimate {
  const known = readDurations();
  const began = new Map<string, number>();
  const spent = new Map<string, number>();
  const progress = (): PartProgress[] =>
    missing.map(({ name, lane }) => {
      const since = began.get(name);
      const running = since === undefined ? undefined : (now() - since) / 1000;
      const expectedSeconds = known[name] ?? TYPICAL_SECONDS[name] ?? UNKNOWN_SECONDS;
      return { expectedSeconds, lane, spentSeconds: spent.get(name) ?? running, done: spent.has(name) };
    });
  return {
    begin: (name) => void began.set(name, now()),
    done(name) {
      const since = began.get(name);
      if (since === undefined || !missing.some((part) => part.name === name)) return;
      spent.set(name, (now() - since) / 1000);
      writeDurations({ ...readDurations(), [name]: Math.max(1, Math.round((now() - since) / 1000)) });
    },
    text: () => `${present + spent.size} of ${present + missing.length}, ${sayLeft(secondsLeft(progress()))}`,
  };
}

const durationsFile = (): string => join(cacheRoot(), "durations.json");
const durations = z.record(z.string(), z.number().positive());

function readDurations(): Readonly<Record<string, number>> {
  try {
    return durations.parse(JSON.parse(readIfThere(durationsFile()) ?? "{}"));
  } catch {
    return {};
  }
}

function writeDurations(all: Readonly<Record<string, number>>): void {
  mkdirSync(cacheRoot(), { recursive: true });
  writeAtomically(durationsFile(), JSON.stringify(all));
}
