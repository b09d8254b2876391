/**
 * One running product on the stack that STACK_NAME names, with a view of everything that it touches. A test file starts
 * it once and closes it at its end; each describe works in a tenant of its own.
 */
import type { Pool } from "pg";

import type { UserEvent } from "../../src/api/userEvent.ts";
import { makePool } from "../../src/store/pool.ts";
import { readStackEnv, type StackEnv } from "../../stack/index.ts";
import { connectKube, type Kube } from "../../stack/kube.ts";
import { type Product, startProduct, stopProducts } from "../../stack/product/index.ts";
import { type ApiServer, connectApiServer } from "./apiServer.ts";
import { openEventReader } from "./events.ts";
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
  const events = await openEventReader(env.NATS_URL);
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
    events: async (uuid) => (await events.all()).filter((event) => event.data.sme_user_uuid === uuid),
    async tenant(label, wishes) {
      const tenant = await makeTenant({ env, api, kube, gateway, db }, label, wishes);
      tenants.push(tenant);
      return tenant;
    },
    admissions: async () => {
      const answer = await fetch(`${product.process("webhook").opsURL}/metrics`);
      const lines = (await answer.text()).matchAll(/^unified_rbac_admission_requests_total\{[^}]*\} (\d+)$/gm);
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
