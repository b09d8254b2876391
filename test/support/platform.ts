/**
 * One running product on the stack that STACK_NAME names, with a view of everything that it touches. A test file starts
 * it once and closes it at its end; each describe works in a tenant of its own.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import pLimit from "p-limit";
import type { Pool } from "pg";

import { EVENT_SUBJECT } from "../../src/bus/streams.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { makePool } from "../../src/store/pool.ts";
import { readStackEnv, type StackEnv } from "../../stack/index.ts";
import { connectKube, type Kube } from "../../stack/kube.ts";
import { type Product, startProduct, stopProducts } from "../../stack/product/index.ts";
import { type ApiServer, connectApiServer } from "./apiServer.ts";
import { standInControl, type StandInControl } from "./standInControl.ts";
import { makeTenant, type TenantWishes, type TestTenant } from "./tenant.ts";

export interface Platform {
  readonly env: StackEnv;
  /** The one that runs now: `reinstall` makes it another. */
  readonly product: Product;
  /** With an administrator's rights. */
  readonly api: ApiServer;
  /** The same, to watch. */
  readonly kube: Kube;
  readonly gateway: StandInControl;
  readonly db: Pool;
  /** Every life-cycle event about this uuid, oldest first, since the platform was opened. */
  events(uuid: string): Promise<readonly UserEvent[]>;
  /** Onboards a tenant under a fresh id that begins with `label`. It goes when the platform closes. */
  tenant(label: string, wishes?: TenantWishes): Promise<TestTenant>;
  /** What the webhooks of this product have answered so far, whatever it was. */
  admissions(): Promise<number>;
  /** What the gateway answers to this key: 200 opens, 401 is unknown, 403 is locked out. */
  opens(apiKey: string): Promise<number>;
  /** Ends the product, loses what `lose` loses, and installs it again as into an empty place: manifests, migrations, start. */
  reinstall(lose: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** `settings`: beside, or instead of, those of the Deployment. */
export async function openPlatform(settings: Readonly<Record<string, string>> = {}): Promise<Platform> {
  const env = readStackEnv(process.env["STACK_NAME"] ?? "test");
  const gateway = standInControl(env.NEWAPI_URL);
  await gateway.heal();
  let product = await startProduct(env, { env: settings });
  const [api, kube] = await Promise.all([connectApiServer(env.KUBECONFIG), connectKube(env)]);
  const db = makePool({ url: env.DATABASE_URL, max: 4, applicationName: "e2e", onIdleError: () => {} });
  const events = await eventReader(env);
  const tenants: TestTenant[] = [];
  return {
    env,
    get product() {
      return product;
    },
    api,
    kube,
    gateway,
    db,
    events: (uuid) => events.about(uuid),
    async tenant(label, wishes) {
      const tenant = await makeTenant({ env, api, kube, gateway, db }, label, wishes);
      tenants.push(tenant);
      return tenant;
    },
    admissions: async () => {
      const answer = await fetch(`${product.process("webhook").opsURL}/metrics`);
      const lines = (await answer.text()).matchAll(/^unified_rbac_admission_total\{[^}]*\} (\d+)$/gm);
      return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
    },
    async opens(apiKey) {
      const headers = { authorization: `Bearer ${apiKey}` };
      return (await fetch(`${env.NEWAPI_URL}/v1/models`, { headers })).status;
    },
    async reinstall(lose) {
      await stopProducts(env);
      await lose();
      product = await startProduct(env, { env: settings });
    },
    async close() {
      try {
        await gateway.heal();
        await Promise.all(tenants.map((tenant) => tenant.leave()));
        const realms = new Map(tenants.map(({ realm }) => [realm.realm, realm]));
        await Promise.all(Array.from(realms.values(), (realm) => realm.remove()));
      } finally {
        await product.stop();
        await Promise.allSettled([events.close(), db.end()]);
        kube.close();
        api.close();
      }
    },
  };
}

interface EventReader {
  about(uuid: string): Promise<readonly UserEvent[]>;
  close(): Promise<void>;
}

/** Reads the stream as it is stored: whether anybody listened when an event came, or NATS was away, does not matter. */
async function eventReader(env: StackEnv): Promise<EventReader> {
  const connection: NatsConnection = await connect({
    servers: new URL(env.NATS_URL).host,
    name: "e2e",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const read: UserEvent[] = [];

  const stream = (): Promise<string | undefined> => manager.streams.find(EVENT_SUBJECT).catch(() => undefined);
  const lastSeq = async (name: string): Promise<number> => (await manager.streams.info(name)).state.last_seq;
  const before = await stream();
  let seen = before === undefined ? 0 : await lastSeq(before);

  async function readOn(): Promise<void> {
    const name = await stream();
    if (name === undefined) return;
    const last = await lastSeq(name);
    // Made anew, for its storage was lost.
    if (last < seen) seen = 0;
    for (; seen < last; seen += 1) {
      const message = await manager.streams.getMessage(name, { seq: seen + 1 });
      if (message !== null) read.push(message.json<UserEvent>());
    }
  }

  // Tests side by side ask side by side; two who read on at once would pass over what lies between them.
  const inTurn = pLimit(1);
  return {
    async about(uuid) {
      await inTurn(readOn);
      return read.filter((event) => event.data.sme_user_uuid === uuid);
    },
    close: () => connection.close(),
  };
}
