/**
 * What both webhooks add to the apply of one person: none configured, two that only say yes, two that say yes and record it
 * with one INSERT, and ours.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { API_VERSION } from "../../src/api/meta.ts";
import { makeCertificates } from "../../src/tls/authority.ts";
import { askChild } from "../children.ts";
import { percentile } from "../figures.ts";
import type { Environment, Place } from "../environment.ts";
import type { Part } from "../part.ts";
import { startFloor } from "./admission.ts";

const applied = z.object({ p50s: z.tuple([z.number(), z.number(), z.number(), z.number()]) });
const KINDS = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] as const;
const PATH = "/apis/admissionregistration.k8s.io/v1";
const NAME = "unified-rbac";
const OURS = { name: NAME };
const YES = { name: "yes" };
const RECORDING = { name: "recording" };

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
  async prepare(environment) {
    const place = await environment.place("apply");
    const product = await place.start();
    const tenant = await place.tenant();
    await tenant.ready();
    const shipped = await readConfigurations(environment);
    // Whoever carries it out would take the time of whoever is measured.
    await product.kill("reconciler", "SIGTERM");
    const { cert, key, ca } = await makeCertificates(
      { dnsNames: ["localhost"], ips: ["127.0.0.1"] },
      { now: Date.now() },
    );
    const yes = await startFloor({ cert, key });
    const recording = await startFloor({ cert, key, databaseURL: place.databaseURL });

    const unwatched = `${tenant.namespace}-none`;
    const agreed = `${tenant.namespace}-yes`;
    const noted = `${tenant.namespace}-recording`;
    for (const name of [unwatched, agreed, noted]) {
      await environment.api.send({ method: "POST", path: "/api/v1/namespaces", body: { metadata: { name } } });
    }
    await configure(environment, [
      ...shipped.map((each) =>
        pointedTo(each, { ...OURS, namespace: tenant.namespace, port: webhookPort(environment, product.id) }),
      ),
      ...shipped.map((each) => pointedTo(each, { ...YES, namespace: agreed, port: yes.port, ca })),
      ...shipped.map((each) => pointedTo(each, { ...RECORDING, namespace: noted, port: recording.port, ca })),
    ]);
    const paths = [unwatched, agreed, noted, tenant.namespace].map((namespace) =>
      tenant.path.replace(tenant.namespace, namespace),
    );
    for (const path of paths.slice(1)) await untilCalled(environment, path);

    let turn = 0;
    // All in turn: whatever the machine does meanwhile, it does to all of them.
    const measure = async (prefix: string, count: number) => {
      const { p50s } = await askChild(
        "load/applies.ts",
        {
          kubeconfig: environment.env.KUBECONFIG,
          paths,
          apiVersion: API_VERSION,
          kind: "TenantUser",
          prefix,
          count: paths.length * count,
          concurrency: 1,
        },
        applied,
      );
      return p50s;
    };

    return {
      async run() {
        turn += 1;
        await measure(`w${turn}`, 5);
        const [none, withYes, withRecord, withOurs] = await measure(`a${turn}`, environment.sizes.applies);
        return [
          { what: "apply, no webhook: p50", unit: "ms", ours: none },
          {
            what: "apply: what both webhooks add at p50",
            unit: "ms",
            ours: withOurs - none,
            floor: withYes - none,
            goal: { of: "ratio", atMost: 1.5 },
          },
          {
            what: "apply: the same, where the floor's webhook commits one INSERT",
            unit: "ms",
            ours: withOurs - none,
            floor: withRecord - none,
          },
          {
            what: "of that: one row committed by Postgres alone, p50",
            unit: "ms",
            ours: await commitAlone(place, environment.sizes.applies),
          },
        ];
      },
      async close() {
        await configure(environment, shipped);
        await yes.child.stop();
        await recording.child.stop();
        await place.close();
      },
    };
  },
};

/** What the floor of /validate writes, one after the other. */
async function commitAlone({ db }: Place, times: number): Promise<number> {
  const all: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const id = randomUUID();
    const began = performance.now();
    await db.query({ name: "commit-alone", text: INSERT, values: [id, "bench", `${id}@bench.example`, "none", id] });
    all.push(performance.now() - began);
  }
  await db.query("delete from user_provision_state where object_namespace = 'none'");
  return percentile(
    all.toSorted((a, b) => a - b),
    0.5,
  );
}

const INSERT = `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name)
                values ($1, $2, $3, $1, $4, $5)`;

/** The port of the webhook's own process: the stack's stand-in for a Service would be a hop that nobody else has. */
function webhookPort(environment: Environment, product: string): number {
  return Number(readFileSync(join(environment.env.STACK_DIR, "data", "product", "endpoints", product), "utf8"));
}

async function readConfigurations({ api }: Environment): Promise<Configuration[]> {
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

interface Target {
  readonly name: string;
  readonly namespace: string;
  readonly port: number;
  readonly ca?: string;
}

/** Asked for one namespace alone. */
function pointedTo(shipped: Configuration, { name, namespace, port, ca }: Target): Configuration {
  return {
    ...shipped,
    metadata: { ...shipped.metadata, name },
    webhooks: shipped.webhooks.map((webhook) => {
      const { url, caBundle } = webhook.clientConfig;
      const there = Object.assign(new URL(url), { port: String(port) }).href;
      const trusted = ca === undefined ? caBundle : Buffer.from(ca).toString("base64");
      return {
        ...webhook,
        clientConfig: { url: there, caBundle: trusted },
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
      };
    }),
  };
}

/** These and no others. */
async function configure({ api }: Environment, wanted: readonly Configuration[]): Promise<void> {
  for (const kind of KINDS) {
    for (const { name } of [OURS, YES, RECORDING])
      await api.send({ method: "DELETE", path: `${PATH}/${kind}/${name}` }).catch(() => {});
  }
  for (const each of wanted) {
    const kind = each.kind.startsWith("Mutating") ? KINDS[0] : KINDS[1];
    await api.send({ method: "POST", path: `${PATH}/${kind}`, body: each });
  }
  // The API server takes it up within a second.
  await sleep(1_500);
}

const held = z.object({ metadata: z.object({ finalizers: z.array(z.string()).default([]) }) });

/** A dry run shows whether the patch is made. */
async function untilCalled({ api }: Environment, path: string): Promise<void> {
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
