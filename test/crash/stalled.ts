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
import { inTheEnd, isWhole, type Person } from "./promise.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";

interface StalledScenario extends Scenario {
  /** What people do while the process stands still. */
  readonly meanwhile?: (place: Place) => Promise<void>;
}

export interface StalledCase {
  readonly scenario: StalledScenario;
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

const COMES_THERE_MS = 40_000;
/** Longer than a lease, a pause and a slow machine. */
const TAKES_OVER_MS = 120_000;
const MENDS_MS = 90_000;
/** For what comes late to be done, before anything is asked. */
const LATE_MS = 1_500;

/** The other one undoes what the stopped one was about to make. */
const GOES_MEANWHILE: StalledScenario = {
  name: "create and go",
  act: (place) => place.apply("ada"),
  meanwhile: (place) => place.remove("ada"),
  holds: async (place) => {
    assert.equal(await place.user("ada"), undefined, "the object is still there");
    assert.equal((await place.realm.admin.users.find({ max: 100 })).length, 0, "Keycloak has a user");
    const open = (await place.gateway.users()).filter(({ disabled }) => !disabled);
    assert.equal(open.length, 0, "the gateway has an open account");
    assert.equal((await place.secrets()).length, 0, "there is a Secret");
    const { rows: people } = await place.db.query(
      "select state, due_at, lease_owner, run from user_provision_state where confirmed_at is not null",
    );
    assert.deepEqual(people, [{ state: "deleted", due_at: null, lease_owner: null, run: null }]);
  },
};

/** The other one follows a newer wish than the stopped one knows. */
const CHANGES_MEANWHILE: StalledScenario = {
  name: "disable and enable",
  before: async (place) => {
    await place.apply("ada");
    return inTheEnd(() => isWhole(place, "ada"), COMES_THERE_MS);
  },
  act: (place) => place.apply("ada", { enabled: false }),
  meanwhile: (place) => place.apply("ada"),
  holds: (place, same) => isWhole(place, "ada", { same }),
};

/** What each does at its neighbours. */
const STOPS: Readonly<Record<string, readonly Effect[]>> = {
  create: ["keycloak.createUser", "newapi.create", "kubernetes.createSecret", "kubernetes.applyStatus"],
  rotate: ["newapi.rotate", "kubernetes.replaceSecret"],
  disable: ["keycloak.updateUser", "newapi.disable"],
  delete: ["kubernetes.deleteSecret", "newapi.disable", "keycloak.deleteUser", "kubernetes.removeFinalizer"],
  "create and go": ["keycloak.createUser", "newapi.create", "kubernetes.createSecret"],
  "disable and enable": ["keycloak.updateUser", "newapi.disable"],
  "come back": ["keycloak.createUser", "newapi.enable", "newapi.rotate", "kubernetes.createSecret"],
};

/** Both sides of each effect, in both ways; `short`: of each effect one of the four, by the seed. */
export function stalledCases({ short, seed }: { readonly short: boolean; readonly seed: number }): StalledCase[] {
  const random = makeRandom(seed + 2);
  const scenarios: readonly StalledScenario[] = [...SCENARIOS, GOES_MEANWHILE, CHANGES_MEANWHILE];
  return scenarios.flatMap((scenario) =>
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
  await scenario.meanwhile?.(place);
  if (loses === "connection") await place.cutPostgres();
  place.startBeside();
  await inTheEnd(() => scenario.holds(place, before), TAKES_OVER_MS);
  const recorded = await rows(place);

  const began = Date.now();
  place.signal("SIGCONT");
  await sleep(LATE_MS);
  // While it is looked at once more, the row says so; in the end it is what it was.
  await inTheEnd(async () => {
    await scenario.holds(place, before);
    assert.deepEqual(await rows(place), recorded, "the late worker changed the row");
  }, MENDS_MS);
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

/** What a row says of the person; not how often it was looked at, nor which traces of somebody gone were found. */
async function rows(place: Place): Promise<unknown[]> {
  const found = await place.db.query(
    `select sme_user_uuid, state, reached, object_uid, key_generation, deleting,
            case when state <> 'deleted' then kc_user_id end as kc_user_id,
            case when state <> 'deleted' then newapi_user_id end as newapi_user_id,
            case when state <> 'deleted' then secret_name end as secret_name
       from user_provision_state order by sme_user_uuid`,
  );
  return found.rows;
}
