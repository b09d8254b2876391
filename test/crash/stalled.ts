/**
 * A reconciler that stands still (SIGSTOP) in the middle of a step, while another one takes over and finishes; then it
 * goes on (SIGCONT). What it does late changes nothing in the row, and what it changes outside is found and mended.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { Effect, Point } from "./effects.ts";
import type { Ground } from "./ground.ts";
import { makePlace, type Place } from "./place.ts";
import { makeRandom } from "./plan.ts";
import { inTheEnd, type Person } from "./promise.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";

export interface StalledCase {
  readonly scenario: Scenario;
  readonly at: Point;
  /** How it loses its rows: its lease runs out, or its connection to Postgres is cut and the lease is free at once. */
  readonly loses: "lease" | "connection";
}

export interface StalledOutcome {
  readonly case: StalledCase;
  readonly failure: string | undefined;
  /** From going on to the moment when all was as promised. */
  readonly settledMs: number;
}

/** What each does at its neighbours. */
const STOPS: Readonly<Record<string, readonly Effect[]>> = {
  create: ["keycloak.createUser", "newapi.create", "kubernetes.createSecret", "kubernetes.applyStatus"],
  rotate: ["newapi.rotate", "kubernetes.replaceSecret"],
  disable: ["keycloak.updateUser", "newapi.disable"],
  delete: ["kubernetes.deleteSecret", "newapi.disable", "keycloak.deleteUser", "kubernetes.removeFinalizer"],
  "come back": ["keycloak.createUser", "newapi.enable", "newapi.rotate", "kubernetes.createSecret"],
};

const COMES_THERE_MS = 40_000;
/** Longer than a lease, a pause and a slow machine. */
const TAKES_OVER_MS = 120_000;
const MENDS_MS = 90_000;
/** For what comes late to be done, before anything is asked. */
const LATE_MS = 1_500;

/** Both sides of each effect, in both ways; `short`: of each effect one of the four, by the seed. */
export function stalledCases({ short, seed }: { readonly short: boolean; readonly seed: number }): StalledCase[] {
  const random = makeRandom(seed + 2);
  return SCENARIOS.flatMap((scenario) =>
    (STOPS[scenario.name] ?? []).flatMap((effect) => {
      const all = (["before", "after"] as const).flatMap((side) =>
        (["lease", "connection"] as const).map((loses): StalledCase => ({ scenario, at: `${side}:${effect}`, loses })),
      );
      return short ? all.slice(Math.floor(random() * all.length)).slice(0, 1) : all;
    }),
  );
}

export function describeStalled({ scenario, at, loses }: StalledCase): string {
  return `${scenario.name}, stopped ${at.replace(":", " ")}, ${loses} lost`;
}

export async function runStalled(ground: Ground, id: string, one: StalledCase): Promise<StalledOutcome> {
  let place: Place | undefined;
  let failure: string | undefined;
  let settledMs = 0;
  try {
    place = await makePlace(ground, id, one.scenario.wishes ?? {}, { doors: false });
    settledMs = await stall(place, one);
  } catch (error) {
    failure = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  }
  await place?.close().catch((error: unknown) => (failure ??= `closing: ${String(error)}`));
  return { case: one, failure, settledMs };
}

async function stall(place: Place, { scenario, at, loses }: StalledCase): Promise<number> {
  const before = await begin(place, scenario, at);
  await scenario.act(place);
  await inTheEnd(() => {
    assert(place.isStopped(), `the process never came ${at.replace(":", " ")}`);
    return Promise.resolve();
  }, COMES_THERE_MS);
  if (loses === "connection") await place.cutPostgres();
  place.startBeside();
  await inTheEnd(() => scenario.holds(place, before), TAKES_OVER_MS);
  const recorded = await rows(place);

  const began = Date.now();
  place.signal("SIGCONT");
  await sleep(LATE_MS);
  await inTheEnd(() => scenario.holds(place, before), MENDS_MS);
  assert.deepEqual(await rows(place), recorded, "the late worker changed the row");
  return Date.now() - began;
}

async function begin(place: Place, scenario: Scenario, at: Point): Promise<Person> {
  if (scenario.before === undefined) {
    place.start({ kind: "stop", at });
    return { uuid: "", keycloakID: "", accountID: "", secretName: "", apiKey: "" };
  }
  place.start();
  const before = await scenario.before(place);
  place.order({ kind: "stop", at });
  return before;
}

/** What a row says of the person; not how often it was looked at. */
async function rows(place: Place): Promise<unknown[]> {
  const found = await place.db.query(
    `select sme_user_uuid, state, reached, kc_user_id, newapi_user_id, object_uid, secret_name, key_generation, deleting
       from user_provision_state order by sme_user_uuid`,
  );
  return found.rows;
}
