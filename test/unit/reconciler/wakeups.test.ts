/** What happened, and which rows become due because of it: the whole table, on a real Postgres. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { candidateUUID } from "../../../src/api/names.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { makeJobs } from "../../../src/lib/jobs.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { makeWakeups, type Wakeups } from "../../../src/reconciler/wakeups.ts";
import type { Pool } from "../../../src/store/pool.ts";
import { tenantSpecOf } from "../../support/tenantSpec.ts";
import { useStore } from "../../support/store.ts";

let pool: Pool;
useStore((opened) => (pool = opened));
afterEach(() => pool.query("truncate user_provision_state"));

const KEYCLOAK = "https://keycloak.example.com";
const GATEWAY = "https://gateway.example.com";

/** Why somebody is not due, by the name of the test's word for it. */
const SITUATIONS = {
  /** Told to wait for a breaker. */
  held: {},
  "no answer from keycloak": { error: { step: "keycloak", class: "transient", code: "UpstreamUnavailable" } },
  "no answer from newapi": { error: { step: "newapi", class: "transient", code: "UpstreamUnavailable" } },
  "mail refused": { error: { step: "keycloak", class: "transient", code: "UpstreamUnavailable", upstreamStatus: 500 } },
  "gateway limited": { error: { step: "newapi", class: "waiting", code: "GatewayLimited" } },
  "credential refused": { error: { step: "keycloak", class: "terminal", code: "CredentialsRefused" }, blocked: true },
  "right missing": { error: { step: "secret", class: "terminal", code: "MissingPermission" }, blocked: true },
  "claimed by others": { error: { step: "keycloak", class: "terminal", code: "UserClaimed" }, blocked: true },
} as const satisfies Record<string, { error?: object; blocked?: boolean }>;

type Name = keyof typeof SITUATIONS;
const ALL = Object.keys(SITUATIONS) as Name[];

/** One of each in every tenant, due in an hour or not at all; returns who of them is due by now. */
async function population(tenantIDs: readonly string[]) {
  const people = tenantIDs.flatMap((tenant) =>
    ALL.map((name) => ({ tenant, name, email: `${randomUUID()}@e.example` })),
  );
  for (const { tenant, name, email } of people) {
    const { error, blocked }: { readonly error?: object; readonly blocked?: boolean } = SITUATIONS[name];
    await pool.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, confirmed_at, object_uid, blocked_on,
         due_at, backoff_until, last_error)
       values ($1, $2, $3, $4, now(), $5, $6, case when $6::text is null then now() + interval '1 hour' end,
         case when $6::text is null and $7::jsonb is not null then now() + interval '1 hour' end, $7)`,
      [
        candidateUUID(tenant, email),
        tenant,
        email,
        error === undefined ? "pending" : "failed",
        randomUUID(),
        blocked === true ? "1|r1||" : null,
        error === undefined ? null : JSON.stringify(error),
      ],
    );
  }
  return async (): Promise<readonly string[]> => {
    const { rows } = await pool.query<{ email: string }>(
      "select email from user_provision_state where due_at < now() + interval '10 seconds'",
    );
    const due = new Set(rows.map(({ email }) => email));
    return people.filter(({ email }) => due.has(email)).map(({ tenant, name }) => `${tenant}: ${name}`);
  };
}

function access(tenantID: string, ready: boolean, keycloak: string): TenantAccess {
  const credentialsSecretName = `${tenantID}-keycloak`;
  const spec = tenantSpecOf(tenantID, { keycloak: { url: keycloak, realm: tenantID, credentialsSecretName } });
  const more = { notReadyMessage: "", realmIsExclusive: true, realm: undefined, gateway: undefined };
  return { tenantID, name: tenantID, spec, revision: "r1", ready, ...more };
}

/** Tenants acme and globex; `globexKeycloak`: where globex's is. */
async function happen(
  happened: (wakeups: Wakeups) => void,
  { ready = true, globexKeycloak = KEYCLOAK }: { readonly ready?: boolean; readonly globexKeycloak?: string } = {},
) {
  const due = await population(["acme", "globex"]);
  const told: string[] = [];
  const tell = (what: string) => (about?: unknown, more?: unknown) =>
    void told.push(
      [what, about, more]
        .filter((part) => part !== undefined)
        .map((part) => JSON.stringify(part))
        .join(" "),
    );
  const all = [access("acme", ready, KEYCLOAK), access("globex", ready, globexKeycloak)];
  const jobs = makeJobs({ concurrency: 4, clock: systemClock, random: () => 0, log: silentLog });
  const wakeups = makeWakeups({
    pool,
    jobs: { run: (place, job) => jobs.run(place, job), hurry: tell("hurry jobs") },
    lookups: { hurry: tell("hurry lookups") },
    due: { notify: tell("notify") },
    registry: { all: () => all, get: (tenantID) => all.find((each) => each.tenantID === tenantID) },
    requests: { recheckBehind: tell("recheck behind"), reloadAfterRelease: tell("reload after release of") },
    pending: { released: tell("call who waits for"), tenantChanged: tell("consider") },
    bus: { kick: tell("kick") },
    log: silentLog,
  });
  happened(wakeups);
  for (const tenantID of ["acme", "globex"]) await jobs.settled(`tenant/${tenantID}`);
  await jobs.stop();
  return { due: await due(), told: told.map((each) => each.replaceAll('"', "")) };
}

const of = (tenantID: string, names: readonly Name[]): string[] => names.map((name) => `${tenantID}: ${name}`);

describe("what happened, and who is due because of it", () => {
  const BEHIND_KEYCLOAK: readonly Name[] = ["held", "no answer from keycloak"];
  const BEHIND_GATEWAY: readonly Name[] = ["held", "no answer from newapi"];

  test("an origin is back: whom its silence held, of every tenant behind it", async () => {
    const { due, told } = await happen((wakeups) => wakeups.originRecovered(KEYCLOAK));
    expect(due).toEqual([...of("acme", BEHIND_KEYCLOAK), ...of("globex", BEHIND_KEYCLOAK)]);
    expect(told).toEqual(["hurry lookups", `recheck behind ${KEYCLOAK}`, "notify", "notify"]);
  });

  test("an origin is back: nobody of a tenant that is elsewhere", async () => {
    const elsewhere = { globexKeycloak: "https://elsewhere.example.com" };
    const { due } = await happen((wakeups) => wakeups.originRecovered(KEYCLOAK), elsewhere);
    expect(due).toEqual(of("acme", BEHIND_KEYCLOAK));
  });

  test("a gateway's origin is back: whom the gateway's silence held", async () => {
    const { due } = await happen((wakeups) => wakeups.originRecovered(GATEWAY));
    expect(due).toEqual([...of("acme", BEHIND_GATEWAY), ...of("globex", BEHIND_GATEWAY)]);
  });

  test("a gateway's limit was raised: who waits for it, of the tenants that are named", async () => {
    const { due, told } = await happen((wakeups) => wakeups.gatewayLimitRaised(["globex"]));
    expect(due).toEqual(of("globex", ["gateway limited"]));
    expect(told).toEqual(["notify"]);
  });

  test("a tenant is let in again: whom the breaker held, and whom the refusal had stopped when it is lifted", async () => {
    const lifted = await happen((wakeups) => wakeups.credentialAccepted("acme", "keycloak", true));
    expect(lifted).toEqual({ due: of("acme", [...BEHIND_KEYCLOAK, "credential refused"]), told: ["notify"] });
    await pool.query("truncate user_provision_state");
    const stays = await happen((wakeups) => wakeups.credentialAccepted("acme", "keycloak", false));
    expect(stays.due).toEqual(of("acme", BEHIND_KEYCLOAK));
  });

  test("a Tenant changed: all of its people but those who are stopped; and while it is ready, who lacked our rights", async () => {
    const change = { tenantID: "acme", namespaces: ["acme", "more"] };
    const unsettled = ALL.filter((name) => !("blocked" in SITUATIONS[name]));
    const notReady = await happen((wakeups) => wakeups.tenantChanged(change), { ready: false });
    expect(notReady.due).toEqual(of("acme", unsettled));
    expect(notReady.told).toEqual(["consider acme [acme,more]", "kick", "notify"]);
    await pool.query("truncate user_provision_state");
    const ready = await happen((wakeups) => wakeups.tenantChanged(change));
    expect(ready.due).toEqual(of("acme", [...unsettled, "right missing"]));
  });

  test("somebody gave up an email or a place: who waits for it is called, and the Tenant that waits for people to go", async () => {
    const held = { tenantID: "acme", uuid: "u", email: "ada@example.com", objectUID: "o" };
    const { due, told } = await happen((wakeups) => wakeups.released(held));
    expect(due).toEqual([]);
    expect(told).toEqual([
      "call who waits for {tenantID:acme,uuid:u,email:ada@example.com,objectUID:o}",
      "reload after release of acme",
    ]);
  });

  test("Postgres is back: what failed because of that is tried at once", async () => {
    const { due, told } = await happen((wakeups) => wakeups.storeRecovered());
    expect({ due, told }).toEqual({ due: [], told: ["hurry jobs"] });
  });
});
