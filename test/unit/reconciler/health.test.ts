import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { type Health, makeHealth } from "../../../src/reconciler/health.ts";
import type { Checks } from "../../../src/saga/tenantReport.ts";
import { tenantSpecOf } from "../../support/tenantSpec.ts";

let health: Health | undefined;
afterEach(() => health?.stop());

const KEYCLOAK = "https://keycloak.example.com";

function stage() {
  const told: string[] = [];
  const access = (tenantID: string, url: string): TenantAccess => ({
    tenantID,
    name: tenantID,
    spec: tenantSpecOf(tenantID, { newapi: { url, credentialsSecretName: "s" } }),
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm: undefined,
    gateway: undefined,
  });
  const all = [access("acme", "https://a.example.com"), access("globex", "https://b.example.com")];
  const made = makeHealth({
    clock: systemClock,
    random: () => 0,
    log: silentLog,
    probe: () => Promise.resolve(false),
    registry: { all: () => all },
    requests: { requestRecheck: (tenantID) => void told.push(`check ${tenantID}`) },
    wakeups: {
      originRecovered: (origin) => void told.push(`back ${origin}`),
      credentialAccepted: (...what) => void told.push(`accepted ${what.join(" ")}`),
    },
    due: { notify: () => void told.push("notify") },
  });
  health = made;
  return { health: made, told };
}

const checks = (keycloak: "well" | "wrong" | "silent"): Checks => ({
  keycloak:
    keycloak === "silent"
      ? { kind: "unreachable", message: "no answer" }
      : {
          kind: "checked",
          findings: keycloak === "well" ? [] : [{ reason: "CredentialsRefused", message: "no", effect: "blocks" }],
        },
  newapi: { kind: "checked", findings: [] },
  kubernetes: { kind: "checked", findings: [] },
});

test("tenants behind an origin that is down have one claim at a time, those at a full one none", async () => {
  const { health: at } = stage();
  const { breakers, originLimits } = at;
  expect(at.held()).toEqual(new Map());
  for (let n = 0; n < 5; n += 1) breakers.failure(KEYCLOAK);
  await expect.poll(() => at.open()).toEqual([{ scope: "origin", upstream: "keycloak", kind: "silent" }]);
  expect(at.held()).toEqual(
    new Map([
      ["acme", 1],
      ["globex", 1],
    ]),
  );
  // As many wait there as can work.
  const stop = new AbortController();
  const released = Promise.withResolvers<void>();
  const work = Array.from({ length: 40 }, () =>
    originLimits.run(
      {
        origin: "https://b.example.com",
        tenantID: "globex",
        whileWaiting: () => Promise.resolve(),
        act: () => released.promise,
        judge: () => "neither",
      },
      stop.signal,
    ),
  );
  expect(at.held()).toEqual(
    new Map([
      ["acme", 1],
      ["globex", 0],
    ]),
  );
  stop.abort();
  released.resolve();
  await Promise.allSettled(work);
});

test("an origin that answers again, a refusal, and a check that is green under it are told where they are waited for", () => {
  const { health: at, told } = stage();
  const { breakers, tenantBreakers } = at;
  for (let n = 0; n < 5; n += 1) tenantBreakers.recordAuthFailure("acme", "keycloak");
  at.checked("acme", checks("silent"));
  at.checked("acme", checks("wrong"));
  expect(told).toEqual(["check acme", "check acme"]);
  at.checked("acme", checks("well"));
  expect(told.slice(2)).toEqual(["accepted acme keycloak true"]);
  breakers.success(KEYCLOAK);
  expect(told).toHaveLength(3);
});

test("who begins to wait for room leaves a worker free, and the engine hears of it", async () => {
  const { health: at, told } = stage();
  const { originLimits } = at;
  const stop = new AbortController();
  const released = Promise.withResolvers<void>();
  const use = {
    origin: KEYCLOAK,
    tenantID: "acme",
    whileWaiting: () => Promise.resolve(),
    act: () => released.promise,
    judge: () => "neither" as const,
  };
  const work = Array.from({ length: 17 }, () => originLimits.run(use, stop.signal));
  expect(told).toEqual(["notify"]);
  stop.abort();
  released.resolve();
  await Promise.allSettled(work);
});
