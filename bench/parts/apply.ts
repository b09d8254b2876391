/** What both webhooks add to the apply of one person: none configured, two that only say yes, and ours. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { API_VERSION } from "../../src/api/meta.ts";
import { makeCertificates } from "../../src/tls/authority.ts";
import { askChild } from "../children.ts";
import type { Ground } from "../ground.ts";
import type { Part } from "../part.ts";
import { startFloor } from "./admission.ts";

const applied = z.object({ p50: z.number(), p99: z.number() });
const KINDS = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] as const;
const PATH = "/apis/admissionregistration.k8s.io/v1";
const NAME = "unified-rbac";

const configuration = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  webhooks: z.array(z.looseObject({ clientConfig: z.looseObject({ url: z.string(), caBundle: z.string() }) })),
});
type Configuration = z.infer<typeof configuration>;

export const apply: Part = {
  name: "apply",
  title: "Apply of one person through the API server",
  async prepare(ground) {
    const place = await ground.place("apply");
    const product = await place.start();
    const tenant = await place.tenant();
    await tenant.ready();
    const shipped = await readConfigurations(ground);
    // Whoever carries it out would take the time of whoever is measured.
    await product.kill("reconciler", "SIGTERM");
    const { cert, key, ca } = await makeCertificates(
      { dnsNames: ["localhost"], ips: ["127.0.0.1"] },
      { now: Date.now() },
    );
    const yes = await startFloor({ cert, key });

    let turn = 0;
    const measure = async (): Promise<number> => {
      const prefix = `a${(turn += 1)}`;
      const task = {
        kubeconfig: ground.env.KUBECONFIG,
        paths: [tenant.path],
        apiVersion: API_VERSION,
        kind: "TenantUser",
      };
      await askChild("load/applies.ts", { ...task, prefix: `${prefix}w`, count: 5, concurrency: 1 }, applied);
      const { p50 } = await askChild(
        "load/applies.ts",
        { ...task, prefix, count: ground.sizes.applies, concurrency: 1 },
        applied,
      );
      return p50;
    };
    const ports = { ours: webhookPort(ground, product.id), yes: yes.port };

    return {
      async run() {
        await configure(ground, []);
        const none = await measure();
        await configure(
          ground,
          shipped.map((each) => pointedTo(each, ports.yes, ca)),
        );
        await untilCalled(ground, tenant.path);
        const withYes = await measure();
        await configure(
          ground,
          shipped.map((each) => pointedTo(each, ports.ours)),
        );
        await untilCalled(ground, tenant.path);
        const withOurs = await measure();
        return [
          { what: "apply, no webhook: p50", unit: "ms", ours: none },
          {
            what: "apply: what both webhooks add at p50",
            unit: "ms",
            ours: withOurs - none,
            floor: withYes - none,
            goal: { of: "ratio", atMost: 1.5 },
          },
        ];
      },
      async close() {
        await configure(ground, shipped);
        await yes.child.stop();
        await place.close();
      },
    };
  },
};

/** The port of the webhook's own process: the stack's stand-in for a Service would be a hop that nobody else has. */
function webhookPort(ground: Ground, product: string): number {
  return Number(readFileSync(join(ground.env.STACK_DIR, "data", "product", "endpoints", product), "utf8"));
}

async function readConfigurations({ api }: Ground): Promise<Configuration[]> {
  return Promise.all(
    KINDS.map(async (kind) => {
      const {
        apiVersion,
        kind: name,
        webhooks,
      } = configuration.parse(await api.send({ method: "GET", path: `${PATH}/${kind}/${NAME}` }));
      const labels = { "app.kubernetes.io/part-of": NAME };
      return { apiVersion, kind: name, metadata: { name: NAME, labels }, webhooks };
    }),
  );
}

function pointedTo(shipped: Configuration, port: number, ca?: string): Configuration {
  return {
    ...shipped,
    webhooks: shipped.webhooks.map((webhook) => {
      const { url, caBundle } = webhook.clientConfig;
      const there = Object.assign(new URL(url), { port: String(port) }).href;
      const trusted = ca === undefined ? caBundle : Buffer.from(ca).toString("base64");
      return { ...webhook, clientConfig: { url: there, caBundle: trusted } };
    }),
  };
}

/** These and no others. */
async function configure({ api }: Ground, wanted: readonly Configuration[]): Promise<void> {
  for (const kind of KINDS) await api.send({ method: "DELETE", path: `${PATH}/${kind}/${NAME}` });
  for (const each of wanted) {
    const kind = each.kind.startsWith("Mutating") ? KINDS[0] : KINDS[1];
    await api.send({ method: "POST", path: `${PATH}/${kind}`, body: each });
  }
  // The API server takes it up within a second.
  await sleep(1_500);
}

const held = z.object({ metadata: z.object({ finalizers: z.array(z.string()).default([]) }) });

/** A dry run shows whether the patch is made. */
async function untilCalled({ api }: Ground, path: string): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const object = await api.send({
      method: "POST",
      path,
      query: { dryRun: "All" },
      body: {
        apiVersion: API_VERSION,
        kind: "TenantUser",
        metadata: { name: "probe" },
        spec: { email: "probe@bench.example" },
      },
    });
    if (held.parse(object).metadata.finalizers.length > 0) return;
    await sleep(100);
  }
  throw new Error("the API server does not call the webhook");
}
