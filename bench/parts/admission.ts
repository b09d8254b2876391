/** Both webhooks by themselves: the server alone under 16 connections, without an API server in front. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { randomUUID } from "node:crypto";
import * as z from "zod";

import { tenantSpec } from "../../src/api/tenant.ts";
import { type CertificateSet, makeCertificates } from "../../src/tls/authority.ts";
import { httpOk } from "../../stack/probe.ts";
import { askChild, type Child, type Program, startChild, startProgram } from "../children.ts";
import type { Figure } from "../figures.ts";
import type { Environment, Place } from "../environment.ts";
import { residentMiB } from "../machine.ts";
import type { Part } from "../part.ts";
import { freePort } from "../ports.ts";

const NAMESPACES = Array.from({ length: 60 }, (_, n) => `tenant-bench-${String(n).padStart(2, "0")}`);
const load = z.object({ rate: z.number(), p50: z.number(), p99: z.number() });
const listening = z.object({ port: z.number() });

export const admission: Part = {
  name: "admission",
  title: "Webhooks over TLS, 16 connections",
  async prepare(environment) {
    const place = await environment.place("admission");
    const certificates = await makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() });
    const ours = await startWebhook(environment, place, certificates);
    const { cert, key } = certificates;
    const yes = await startFloor({ cert, key });
    const recording = await startFloor({ cert, key, databaseURL: place.databaseURL });

    const loadOn = (port: number, path: string): Promise<z.infer<typeof load>> =>
      askChild(
        "load/reviews.ts",
        { port, path, ca: certificates.ca, namespaces: NAMESPACES, ...environment.sizes.admission },
        load,
      );

    return {
      async run() {
        const mutate = await compare(
          () => loadOn(ours.port, "/mutate"),
          () => loadOn(yes.port, "/mutate"),
        );
        const validate = await compare(
          () => loadOn(ours.port, "/validate"),
          () => loadOn(recording.port, "/validate"),
        );
        // Nobody claims these rows; the next run shall find the table as this one did.
        const { rows } = await place.db.query<{ n: number }>("select count(*)::int as n from user_provision_state");
        if ((rows[0]?.n ?? 0) === 0) throw new Error("nothing was recorded");
        await place.db.query("truncate user_provision_state");
        return [
          ...figures("/mutate", mutate, { rate: 0.5, p99: 2.5 }),
          ...figures("/validate, recording", validate, { rate: 0.7, p99: 1.5 }),
          { what: "webhook's memory right after the load", unit: "MiB", ours: residentMiB(ours.pid) },
        ];
      },
      async close() {
        await ours.program.stop();
        await Promise.all([yes.child.stop(), recording.child.stop()]);
        await place.close();
      },
    };
  },
};

interface Both {
  readonly ours: z.infer<typeof load>;
  readonly floor: z.infer<typeof load>;
}

async function compare(ours: () => Promise<Both["ours"]>, floor: () => Promise<Both["floor"]>): Promise<Both> {
  return { ours: await ours(), floor: await floor() };
}

function figures(path: string, { ours, floor }: Both, goals: { rate: number; p99: number }): Figure[] {
  return [
    {
      what: `${path}: rate`,
      unit: "1/s",
      ours: ours.rate,
      floor: floor.rate,
      goal: { of: "ratio", atLeast: goals.rate },
    },
    { what: `${path}: p50`, unit: "ms", ours: ours.p50, floor: floor.p50 },
    { what: `${path}: p99`, unit: "ms", ours: ours.p99, floor: floor.p99, goal: { of: "ratio", atMost: goals.p99 } },
  ];
}

export async function startFloor(task: {
  cert: string;
  key: string;
  databaseURL?: string;
}): Promise<{ child: Child; port: number }> {
  const child = startChild("floors/webhook.ts", task);
  const { port } = await child.says(listening);
  return { child, port };
}

/** The webhook's process as in its container, with a tenant in its database and no reconciler beside it. */
async function startWebhook(
  environment: Environment,
  place: Place,
  { cert, key }: CertificateSet,
): Promise<{ program: Program; pid: number; port: number }> {
  await tellOfTenant(place);
  const tlsDir = join(environment.env.STACK_DIR, "data", "bench-tls");
  mkdirSync(tlsDir, { recursive: true });
  writeFileSync(join(tlsDir, "tls.crt"), cert);
  writeFileSync(join(tlsDir, "tls.key"), key, { mode: 0o600 });
  const [port, opsPort] = [await freePort(), await freePort()];
  const program = startProgram(
    [join(environment.dist, "main.js"), "webhook"],
    {
      DATABASE_URL: place.databaseURL,
      WEBHOOK_ADDRESS: `127.0.0.1:${port}`,
      OPS_ADDRESS: `127.0.0.1:${opsPort}`,
      TLS_DIR: tlsDir,
    },
    join(environment.logs, "webhook.log"),
  );
  for (let tries = 0; !(await httpOk(`http://127.0.0.1:${opsPort}/readyz`)); tries += 1) {
    if (tries === 300) throw new Error(`The webhook does not get ready; its log is in ${environment.logs}.`);
    await sleep(100);
  }
  // It reads the tenants while it gets ready; a moment more, so that every review finds its own.
  await sleep(500);
  return { program, pid: program.pid, port };
}

async function tellOfTenant({ db }: Place): Promise<void> {
  const spec = tenantSpec.parse({
    tenantID: "bench",
    namespaces: NAMESPACES,
    keycloak: { url: "http://keycloak.invalid", realm: "bench", credentialsSecretName: "keycloak" },
    newapi: { url: "http://newapi.invalid", credentialsSecretName: "newapi" },
  });
  await db.query(
    `insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision, ready)
     values ('bench', $1, 'bench', now(), $2, '1', true)`,
    [randomUUID(), JSON.stringify(spec)],
  );
  await db.query(
    "insert into tenant_namespaces (namespace, tenant_id) select n, 'bench' from unnest($1::text[]) as n",
    [NAMESPACES],
  );
}
