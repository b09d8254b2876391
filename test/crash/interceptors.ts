/** Intercepts the calls of a reconciler: every effect passes a point before and after it. */
import type { PoolClient } from "pg";
import type { Interceptors } from "../../src/roles/interceptors.ts";
import type { Bus } from "../../src/bus/bus.ts";
import type { Cluster, OpenWatch } from "../../src/kube/cluster.ts";
import { collectionPath } from "../../src/kube/objects.ts";
import type { Pool } from "../../src/store/pool.ts";
import { BUS, CLUSTER, type Happening, happeningOfCall, happeningOfStatement } from "./effects.ts";

export interface Points {
  /** Runs what happens, with its points around it. */
  around<T>(happening: Happening, act: () => Promise<T>): Promise<T>;
  unnamed(what: string): void;
}

/** The one tenant that this process knows, so that many can share an API server, each with a database of its own. */
export interface Lens {
  readonly tenant: string;
  readonly namespace: string;
}

export function makeInterceptors(points: Points, lens: Lens): Interceptors {
  return {
    pool: (pool) => aroundPool(pool, points),
    cluster: (cluster) => {
      const narrow: Cluster = {
        ...cluster,
        listTenants: async (signal) =>
          (await cluster.listTenants(signal)).filter(({ metadata }) => metadata.name === lens.tenant),
      };
      return aroundMethods(narrow, CLUSTER, points);
    },
    openWatch: (open) => narrowed(open, lens),
    bus: (bus) => aroundMethods<Bus>(bus, BUS, points),
  };
}

function narrowed(open: OpenWatch, { tenant, namespace }: Lens): OpenWatch {
  return (target, onEvent) => {
    if (target.path === collectionPath("TenantUser"))
      return open({ ...target, path: collectionPath("TenantUser", namespace) }, onEvent);
    if (target.path !== collectionPath("Tenant")) return open(target, onEvent);
    return open(target, (event) => {
      if (event.kind === "listed" || event.object.name === tenant) return onEvent(event);
    });
  };
}

function aroundMethods<T extends object>(
  port: T,
  happenings: { readonly [Method in keyof T]: Happening | "passing" },
  points: Points,
): T {
  return new Proxy(port, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      if (typeof value !== "function" || !(key in happenings)) return value;
      const happening = happenings[key as keyof T];
      if (happening === "passing") return value;
      return (...args: unknown[]) => points.around(happening, () => call(value, target, args));
    },
  });
}

function call(method: unknown, target: object, args: readonly unknown[]): Promise<unknown> {
  return Reflect.apply(method as (...args: readonly unknown[]) => Promise<unknown>, target, args);
}

/** Calls of Keycloak and of the gateway leave through the one fetch of this process. */
export function aroundFetch(points: Points): void {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const method = init?.method ?? (input instanceof Request ? input.method : "GET");
    const happening = happeningOfCall(method, url, typeof init?.body === "string" ? init.body : "");
    if (happening === undefined) {
      points.unnamed(`${method} ${url.pathname}`);
      return fetch(input, init);
    }
    return points.around(happening, () => fetch(input, init));
  };
}

/** A statement of its own is one happening; a transaction is one too, at its commit, named after its first write. */
function aroundPool(pool: Pool, points: Points): Pool {
  const alone = (args: readonly unknown[]): Promise<unknown> => {
    const happening = named(args, points);
    const run = () => call(Reflect.get(pool, "query"), pool, args);
    return happening === "background" ? run() : points.around(happening, run);
  };
  return new Proxy(pool, {
    get(target, key) {
      if (key === "query") return (...args: unknown[]) => alone(args);
      if (key === "connect") return async () => aroundClient(await target.connect(), points);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (...args: unknown[]) => call(value, target, args) : value;
    },
  });
}

function aroundClient(client: PoolClient, points: Points): PoolClient {
  let within: Happening | undefined;
  let isOpen = false;
  const query = (...args: unknown[]): Promise<unknown> => {
    const run = () => call(Reflect.get(client, "query"), client, args);
    const [first] = args;
    if (first === "begin" || first === "rollback") {
      isOpen = first === "begin";
      within = undefined;
      return run();
    }
    if (first === "commit") {
      const happening = within;
      isOpen = false;
      within = undefined;
      return happening === undefined ? run() : points.around(happening, run);
    }
    const happening = named(args, points);
    if (!isOpen) return happening === "background" ? run() : points.around(happening, run);
    if (happening !== "background" && happening !== "postgres.look") within ??= happening;
    return run();
  };
  return new Proxy(client, {
    get(target, key) {
      if (key === "query") return query;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (...args: unknown[]) => call(value, target, args) : value;
    },
  });
}

function named(args: readonly unknown[], points: Points): Happening | "background" {
  const [first, second] = args;
  const config =
    typeof first === "string"
      ? { text: first, values: second }
      : (first as { name?: string; text: string; values?: unknown });
  const happening = happeningOfStatement(config, Array.isArray(config.values) ? config.values : []);
  if (happening === undefined) points.unnamed(config.name ?? config.text);
  return happening ?? "background";
}
