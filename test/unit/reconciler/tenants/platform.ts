/** What the tests of the tenants' loops share. */
import { type TestContext, vi } from "vitest";
import type { TenantSpecInput } from "../../../../src/api/tenant.ts";
import type { Realm, RealmProblem } from "../../../../src/keycloak/realm.ts";
import { systemClock } from "../../../../src/lib/clock.ts";
import { TransientError } from "../../../../src/lib/errors.ts";
import type { LoopPart } from "../../../../src/lib/lifecycle.ts";
import { silentLog } from "../../../../src/lib/log.ts";
import type { GatewaySettings } from "../../../../src/gateway/dialect.ts";
import type { Gateway } from "../../../../src/gateway/gateway.ts";
import type { RealmSettings } from "../../../../src/reconciler/tenants/clients.ts";
import { type Breakers, makeBreakers } from "../../../../src/reconciler/breakers.ts";
import { makeTenantLoop } from "../../../../src/reconciler/tenants/loop.ts";
import { makeTenantRegistry } from "../../../../src/reconciler/tenants/registry.ts";
import { makeTenantRequests } from "../../../../src/reconciler/tenants/requests.ts";
import type { TenantChange } from "../../../../src/reconciler/tenants/status.ts";
import type { Checks } from "../../../../src/saga/tenantReport.ts";
import { makeFakeCluster } from "../../../support/fakeCluster.ts";
import { makeFakeTenantStore } from "../../../support/fakeTenantStore.ts";
import { tenantSpecInput } from "../../../support/tenantSpec.ts";

export const down = new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", message: "no answer" });

type Platform = ReturnType<typeof makePlatform>;

/** A platform with one operator namespace; each replica is a set of loops over the same cluster and database. */
function makePlatform() {
  const cluster = makeFakeCluster();
  const store = makeFakeTenantStore();
  const keycloak: {
    problems: RealmProblem[];
    error: Error | undefined;
    asked: (of: RealmSettings) => unknown;
    identity: (of: RealmSettings) => string;
  } = {
    problems: [],
    error: undefined,
    asked: () => undefined,
    identity: ({ url, realm }) => `${url} ${realm}`,
  };
  const gateway: { error: Error | undefined } = { error: undefined };
  const loops: LoopPart[] = [];
  const opened: Breakers[] = [];

  function replica({
    sees = keycloak,
    breaks = () => false,
    ...given
  }: {
    recheckMs?: number;
    patienceMs?: number;
    sees?: typeof keycloak;
    breaks?: (of: RealmSettings) => boolean;
  } = {}) {
    const realms: RealmSettings[] = [];
    const gateways: GatewaySettings[] = [];
    const changes: TenantChange[] = [];
    const probes: number[] = [];
    const results: [string, Checks][] = [];
    const [clock, random] = [systemClock, () => 0.5];
    const registry = makeTenantRegistry({ clock, random });
    const requests = makeTenantRequests({ registry, clock, random, countMs: 20 });
    const breakers = makeBreakers({
      clock,
      random,
      probe: () => {
        probes.push(Date.now());
        return Promise.resolve(sees.error === undefined);
      },
      recovered: (origin) => requests.recheckBehind(origin),
    });
    opened.push(breakers);
    const makeRealm = (settings: RealmSettings) => {
      realms.push(settings);
      if (breaks(settings)) throw new TypeError("nobody thought of this");
      return {
        check: async () => {
          await sees.asked(settings);
          if (sees.error !== undefined) throw sees.error;
          return sees.problems;
        },
        identity: () => Promise.resolve(sees.identity(settings)),
      } as Partial<Realm> as Realm;
    };
    const makeGateway = (settings: GatewaySettings) => {
      gateways.push(settings);
      return {
        check: async () => {
          if (gateway.error !== undefined) throw gateway.error;
          return { problems: [], unknown: [] };
        },
      } as Partial<Gateway> as Gateway;
    };
    const loop = makeTenantLoop({
      cluster,
      registry,
      requests,
      factories: { makeRealm, makeGateway },
      breakers,
      store,
      openWatch: cluster.openWatch,
      operatorNamespace: "operator",
      changed: (change) => void changes.push(change),
      checked: (tenantID, found) => void results.push([tenantID, found]),
      clock,
      random,
      log: silentLog,
      recheckMs: 300,
      retryMs: 50,
      ...given,
    });
    void loop.start();
    loops.push(loop);
    return { ...registry, ...requests, ...loop, realms, gateways, changes, breakers, probes, results };
  }

  /** A Tenant with everything that it needs. */
  function onboard(id: string, changes: Partial<TenantSpecInput> = {}): void {
    cluster.createNamespace(id);
    cluster.applySecret("operator", `${id}-keycloak`, { "client-id": "rbac", "client-secret": "s3cret" });
    cluster.applySecret("operator", `${id}-newapi`, { token: "admin\n" });
    cluster.applyTenant(id, tenantSpecInput(id, changes));
  }

  function condition(name: string, type: string) {
    return cluster.tenant(name)?.status?.conditions?.find((each) => each.type === type);
  }

  /** Ready's status and reason, and what stands beside it. */
  function readiness(name: string): string {
    const ready = condition(name, "Ready");
    const beside = ["Reconciling", "Stalled"].filter((type) => condition(name, type)?.status === "True");
    return [ready?.status, ready?.reason, ...beside].join(" ");
  }

  async function end(): Promise<void> {
    for (const loop of loops) await loop.stop();
    for (const breakers of opened) breakers.stop();
  }

  return { cluster, store, keycloak, gateway, replica, onboard, condition, readiness, end };
}

/** A platform that ends with its test. Tests run side by side, since they wait most of the time: each has its own. */
export function start(onTestFinished: TestContext["onTestFinished"]): Platform {
  const platform = makePlatform();
  onTestFinished(() => platform.end());
  return platform;
}

export const until = (holds: () => void) => vi.waitFor(holds, { timeout: 20_000, interval: 10 });
export const settled = (ms = 900) => new Promise((resolve) => void setTimeout(resolve, ms));
