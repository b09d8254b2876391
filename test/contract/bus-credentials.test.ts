/** How the bus logs in to a real NATS server that lets in nobody without, and what rights are enough for it there. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createUser, type KeyPair } from "@nats-io/nkeys";
import { connect } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { type BusOptions, makeBus } from "../../src/bus/nats.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { secretSource } from "../../src/lib/secretFile.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { type CertificateSet, makeCertificates } from "../../src/tls/authority.ts";
import { natsRights } from "../../stack/parts/nats.ts";
import { makeNatsServer, type NatsServer } from "../support/natsServer.ts";

let folder: string;
let server: NatsServer;
let certificates: CertificateSet;
let nkey: KeyPair;
const buses: Bus[] = [];
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "unified-rbac-nats-login-"));
  certificates = await makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() });
  nkey = createUser();
  await Promise.all([
    writeFile(file("tls.crt"), certificates.cert),
    writeFile(file("tls.key"), certificates.key),
    writeFile(file("ca.crt"), certificates.ca),
    writeFile(file("seed"), nkey.getSeed()),
    writeFile(file("password"), "wrong\n"),
  ]);
  const rights = JSON.stringify(natsRights());
  server = await makeNatsServer({
    settings: `
      tls { cert_file: "${file("tls.crt")}", key_file: "${file("tls.key")}" }
      authorization { users: [
        { user: "rbac", password: "hunter2", permissions: ${rights} }
        { nkey: "${nkey.getPublicKey()}", permissions: ${rights} }
        { user: "admin", password: "admin" }
      ] }`,
    login: { user: "admin", pass: "admin", tls: { caFile: file("ca.crt") } },
  });
  await server.start();
});
afterEach(async () => {
  await Promise.all(buses.splice(0).map((bus) => bus.close()));
});
afterAll(async () => {
  await server.remove();
  await rm(folder, { recursive: true });
});

function bus(options: Partial<BusOptions>): Bus {
  const made = makeBus(
    { log: silentLog, clock: systemClock },
    { servers: [new Sensitive(server.url)], periodMs: 30_000, retryMs: 100, idleHeartbeatMs: 500, ...options },
  );
  buses.push(made);
  return made;
}
const tls = () => ({ caFile: file("ca.crt") });
const soon = { timeout: 15_000, interval: 50 };
const connected = (made: Bus) => vi.waitFor(() => expect(made.connected()).toBe(true), soon);

test("without a login, with a wrong one, or with a CA that does not vouch for the server nobody is connected", async () => {
  const none = [
    bus({ tls: tls() }),
    bus({ tls: tls(), login: { user: "rbac", password: () => "guessed" } }),
    bus({ tls: tls(), nkeyFile: file("password") }),
    bus({ login: { user: "rbac", password: () => "hunter2" } }),
  ];
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(none.map((made) => made.connected())).toEqual([false, false, false, false]);
});

test("a password that is put right in its file is used at the next try", async () => {
  const password = secretSource(new Sensitive("wrong"), file("password"));
  const made = bus({ tls: tls(), login: { user: "rbac", password } });
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(made.connected()).toBe(false);
  await writeFile(file("password"), "hunter2\n");
  await connected(made);
});

test("the rights that the guide prints are enough for all that the bus does, and for nothing else", async () => {
  const made = bus({ tls: tls(), nkeyFile: file("seed") });
  await connected(made);
  let looks = 0;
  made.consumeHeartbeat(() => {
    looks += 1;
  });
  await vi.waitFor(() => expect(made.lastProgress()).toBeGreaterThan(0), soon);
  await made.publishHeartbeat(Date.now());
  await vi.waitFor(() => expect(looks).toBeGreaterThan(0), soon);
  await made.publishEvent(
    {
      id: "8f1f3c62-0000-4000-8000-000000000001",
      type: "sme.user.created",
      source: "unified-rbac",
      timestamp: "2026-01-01T00:00:00Z",
      sme_user_uuid: "8f1f3c62-0000-4000-8000-000000000002",
      tenant_id: "acme",
      metadata: {},
    } as never,
    AbortSignal.timeout(10_000),
  );
  const nc = await connect({
    servers: new URL(server.url).host,
    user: "rbac",
    pass: "hunter2",
    tls: tls(),
    reconnect: false,
  });
  const refused: string[] = [];
  void (async () => {
    for await (const status of nc.status()) if (status.type === "error") refused.push(String(status.error));
  })();
  nc.publish("somebody.elses", "{}");
  nc.publish("$JS.API.STREAM.DELETE.SME_USER_EVENTS", "{}");
  nc.publish("$JS.API.STREAM.PURGE.SME_USER_EVENTS", "{}");
  nc.subscribe("sme.user.events", { callback: () => undefined });
  await nc.flush();
  await vi.waitFor(() => expect(refused).toHaveLength(4), soon);
  expect(refused.every((text) => /permissions violation/i.test(text))).toBe(true);
  await nc.close();
});
