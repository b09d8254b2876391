/** What happens in chaos and when: all of it is known before it begins, and the same seed gives the same plan. */
import type { TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { makeRandom } from "./plan.ts";

export const DIALECTS = ["admin-v1", "new-api"] as const;
export type Dialect = (typeof DIALECTS)[number];

export const PROCESSES = ["a-webhook", "a-reconciler", "b-webhook", "b-reconciler"] as const;
export type ProcessName = (typeof PROCESSES)[number];

/** In this order, over and over. */
export const PARTS = ["postgres", "nats", "keycloak"] as const;
export type RestartedPart = (typeof PARTS)[number];

/** What a person's manifest says; `emailLocal` is what stands before the @. */
export type Wish = Omit<TenantUserSpecInput, "email"> & { readonly emailLocal: string };

export type Act =
  | { readonly kind: "commit"; readonly atMs: number; readonly person: string; readonly wish: Wish }
  | { readonly kind: "remove"; readonly atMs: number; readonly person: string }
  | { readonly kind: "kill"; readonly atMs: number; readonly process: ProcessName; readonly backAfterMs: number }
  /** `crash`: by SIGKILL. */
  | { readonly kind: "restart"; readonly atMs: number; readonly part: RestartedPart; readonly crash: boolean };

export interface ChaosPlan {
  readonly seed: number;
  /** Names by the dialect of the gateway that serves them. */
  readonly people: Readonly<Record<Dialect, readonly string[]>>;
  /** In the order of their times. */
  readonly acts: readonly Act[];
  /** What each manifest says in the end; a person who is not here was removed. */
  readonly wanted: ReadonlyMap<string, Wish>;
}

export interface ChaosSize {
  readonly seed: number;
  readonly people: number;
  readonly seconds: number;
}

type Random = () => number;
type Edit = (name: string, before: Wish, n: number) => Wish;

const flip =
  (field: "enabled" | "suspend", absent: boolean): Edit =>
  (_name, wish) => ({ ...wish, [field]: !(wish[field] ?? absent) });

/** Every kind of edit; `n` makes what must be new each time new. */
export const EDITS: Readonly<Record<string, Edit>> = {
  enable: flip("enabled", true),
  suspend: flip("suspend", false),
  displayName: (name, wish, n) => ({ ...wish, displayName: `${name} the ${n}th` }),
  email: (name, wish, n) => ({ ...wish, emailLocal: `${name}-${n}` }),
  secretName: (name, wish, n) => ({ ...wish, secret: { name: `newapi-key-${name}-${n}` } }),
  rotate: (_name, wish) => ({ ...wish, key: { generation: (wish.key?.generation ?? 0) + 1 } }),
  groups: (_name, wish, n) => ({ ...wish, groups: [["/team-a"], ["/team-b"], []][n % 3] ?? [] }),
};

/** A fifth has a gateway of dialect new-api. */
const NEW_API_SHARE = 0.2;
/** So many of those who came go again, and so many of them come back. */
const REMOVED = 0.3;
const RETURNED = 0.4;
const MOST_EDITS = 4;

export function planChaos({ seed, people: count, seconds }: ChaosSize): ChaosPlan {
  const random = makeRandom(seed);
  const lengthMs = seconds * 1000;
  const names = Array.from({ length: count }, (_, index) => `p${index + 1}`);
  const split = Math.round(count * (1 - NEW_API_SHARE));
  const lives = names.map((name) => planLife(name, lengthMs, random));
  const acts = [
    ...lives.flatMap((life) => life.acts),
    ...planKills(lengthMs, random),
    ...planRestarts(lengthMs, random),
  ];
  return {
    seed,
    people: { "admin-v1": names.slice(0, split), "new-api": names.slice(split) },
    acts: acts.toSorted((one, other) => one.atMs - other.atMs),
    wanted: new Map(lives.flatMap(({ name, wish }) => (wish === undefined ? [] : [[name, wish] as const]))),
  };
}

/** Comes in the first half, is edited, perhaps goes, perhaps comes again. Nobody is left suspended. */
function planLife(
  name: string,
  lengthMs: number,
  random: Random,
): { name: string; acts: Act[]; wish: Wish | undefined } {
  let atMs = random() * lengthMs * 0.5;
  let wish: Wish = { emailLocal: name };
  const acts: Act[] = [{ kind: "commit", atMs, person: name, wish }];
  const later = (share: number): number => (atMs += random() * (lengthMs * 0.95 - atMs) * share);
  const commit = (next: Wish, at: number): void => {
    wish = next;
    acts.push({ kind: "commit", atMs: at, person: name, wish });
  };
  const edits = Math.floor(random() * (MOST_EDITS + 1));
  for (let n = 1; n <= edits; n += 1) commit(pick(Object.values(EDITS), random)(name, wish, n), later(0.5));
  const removed = random() < REMOVED;
  const returns = random() < RETURNED;
  if (removed) {
    acts.push({ kind: "remove", atMs: later(0.7), person: name });
    if (!returns) return { name, acts, wish: undefined };
  }
  // A suspended one would owe its last edits for ever.
  if (removed || wish.suspend === true) commit({ ...wish, suspend: false }, later(0.7));
  return { name, acts, wish };
}

/** One process every half to two seconds. */
function planKills(lengthMs: number, random: Random): Act[] {
  const acts: Act[] = [];
  for (let atMs = 1000; atMs < lengthMs; atMs += 500 + random() * 1500) {
    acts.push({ kind: "kill", atMs, process: pick(PROCESSES, random), backAfterMs: random() * 1000 });
  }
  return acts;
}

/** Each part at least once, whatever the length. */
function planRestarts(lengthMs: number, random: Random): Act[] {
  const turns = Math.max(PARTS.length, Math.floor(lengthMs / 20_000));
  return Array.from({ length: turns }, (_, turn): Act => {
    const part = PARTS[turn % PARTS.length] ?? "postgres";
    const atMs = ((turn + 0.5 + random() * 0.3) / (turns + 0.5)) * lengthMs;
    // Keycloak keeps its data in H2 here, which may forget its last second when it is killed: no real one does.
    return { kind: "restart", atMs, part, crash: part !== "keycloak" && random() < 0.5 };
  });
}

function pick<T>(all: readonly T[], random: Random): T {
  const one = all[Math.floor(random() * all.length)];
  if (one === undefined) throw new Error("there is nothing to pick from");
  return one;
}
