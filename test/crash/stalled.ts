/**
 * A reconciler that stands still (SIGSTOP) in the middle of a step, while another one takes over and finishes; then it
 * continues (SIGCONT). What it does late changes nothing in the row, and what it changes outside is found and fixed.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { Effect, Point } from "./effects.ts";
import type { Environment } from "./environment.ts";
import { makeSandbox, type Sandbox } from "./sandbox.ts";
import { makeRandom } from "./plan.ts";
import { inTheEnd, isWhole } from "./invariants.ts";
import type { Person } from "../support/tenant.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";

interface StalledScenario extends Scenario {
  /** What people do while the process stands still. */
  readonly meanwhile?: (sandbox: Sandbox) => Promise<void>;
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
  /** From in progress to the moment when all was as promised. */
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
  act: (sandbox) => sandbox.apply("ada"),
  meanwhile: (sandbox) => sandbox.remove("ada"),
  holds: async (sandbox) => {
    assert.equal(await sandbox.user("ada"), undefined, "the object is still there");
    assert.equal((await sandbox.realm.admin.users.find({ max: 100 })).length, 0, "Keycloak has a user");
    const open = (await sandbox.gateway.users()).filter(({ disabled }) => !disabled);
    assert.equal(open.length, 0, "the gateway has an open account");
    assert.equal((await sandbox.secrets()).length, 0, "there is a Secret");
    const { rows: people } = await sandbox.db.query(
      "select state, due_at, lease_owner, run from user_provision_state where confirmed_at is not null",
    );
    assert.deepEqual(people, [{ state: "deleted", due_at: null, lease_owner: null, run: null }]);
  },
};

/** The other one follows a newer wish than the stopped one knows. */
const CHANGES_MEANWHILE: StalledScenario = {
  name: "disable and enable",
  before: async (sandbox) => {
    await sandbox.apply("ada");
    return inTheEnd(() => isWhole(sandbox, "ada"), COMES_THERE_MS);
  },
  act: (sandbox) => sandbox.apply("ada", { enabled: false }),
  meanwhile: (sandbox) => sandbox.apply("ada"),
  holds: (sandbox, same) => isWhole(sandbox, "ada", { same }),
};

/** What each does at its upstreams. */
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

export async function runStalled(environment: Environment, id: string, one: StalledCase): Promise<StalledOutcome> {
  let sandbox: Sandbox | undefined;
  let failure: string | undefined;
  let settledMs = 0;
  try {
    sandbox = await makeSandbox(environment, id, one.scenario.wishes ?? {}, { doors: false });
    settledMs = await stall(sandbox, one);
  } catch (error) {
    failure = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, 300) : String(error);
  }
  await sandbox?.close().catch((error: unknown) => (failure ??= `closing: ${String(error)}`));
  return { case: one, failure, settledMs };
}

async function stall(sandbox: Sandbox, { scenario, at, loses }: StalledCase): Promise<number> {
  const before = await begin(sandbox, scenario, at);
  await scenario.act(sandbox, before);
  await inTheEnd(() => {
    assert(sandbox.isStopped(), `the process never came ${at.replace(":", " ")}`);
    return Promise.resolve();
  }, COMES_THERE_MS);
  await scenario.meanwhile?.(sandbox);
  if (loses === "connection") await sandbox.cutPostgres();
  sandbox.startBeside();
  await inTheEnd(() => scenario.holds(sandbox, before), TAKES_OVER_MS);
  const recorded = await rows(sandbox);

  const began = Date.now();
  sandbox.signal("SIGCONT");
  await sleep(LATE_MS);
  // While it is looked at once more, the row says so; in the end it is what it was.
  await inTheEnd(async () => {
    await scenario.holds(sandbox, before);
    assert.deepEqual(await rows(sandbox), recorded, "the late worker changed the row");
  }, MENDS_MS);
  return Date.now() - began;
}

async function begin(sandbox: Sandbox, scenario: Scenario, at: Point): Promise<Person> {
  if (scenario.before === undefined) {
    sandbox.start({ kind: "stop", at });
    return { uuid: "", keycloakID: "", accountID: "", secretName: "", apiKey: "" };
  }
  sandbox.start();
  const before = await scenario.before(sandbox);
  sandbox.order({ kind: "stop", at });
  return before;
}

/** What a row says of the person; not how often it was looked at, nor which traces of somebody gone were found. */
async function rows(sandbox: Sandbox): Promise<unknown[]> {
  const found = await sandbox.db.query(
    `select sme_user_uuid, state, reached, object_uid, key_generation, deleting,
            case when state <> 'deleted' then kc_user_id end as kc_user_id,
            case when state <> 'deleted' then newapi_user_id end as newapi_user_id,
            case when state <> 'deleted' then secret_name end as secret_name
       from user_provision_state order by sme_user_uuid`,
  );
  return found.rows;
}
