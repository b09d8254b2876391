/** Who may call the webhook, where the platform has given its API server a certificate. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { makeAdmissionServer } from "../../../src/admission/server.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { type CertificateSet, makeCertificates } from "../../../src/tls/authority.ts";
import type { TLSMaterial } from "../../../src/tls/files.ts";
import { knownTenant, reviewOf, webhookClient } from "../../support/admission.ts";
import { type ClientAuthority, type ClientCertificate, makeClientAuthority } from "../../support/clientCertificates.ts";

let platform: ClientAuthority;
let somebody: ClientAuthority;
let serving: CertificateSet;
beforeAll(async () => {
  [platform, somebody, serving] = await Promise.all([
    makeClientAuthority(),
    makeClientAuthority(),
    makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() }),
  ]);
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(names: readonly string[] = [], ca: string | null = platform.ca) {
  let deliver: (material: TLSMaterial) => void = () => undefined;
  const recorded: string[] = [];
  const server = makeAdmissionServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls: {
      subscribe(listener) {
        deliver = listener;
        listener({ ...serving, notAfter: 0, clientCA: ca ?? undefined });
        return () => undefined;
      },
    },
    clients: { names },
    log: silentLog,
    tenants: { lookup: () => knownTenant(), loaded: true },
    record: async ({ name }) => {
      recorded.push(name);
      return { inserted: true, touched: false, heldBy: undefined, full: false };
    },
  });
  await server.start();
  cleanups.push(() => server.stop());
  const review = async (certificate?: ClientCertificate) => {
    const client = webhookClient({
      port: server.port(),
      ca: serving.ca,
      ...(certificate === undefined ? {} : { certificate }),
    });
    cleanups.push(() => client.close());
    return (await client.send("/validate", reviewOf())).answer.response.allowed;
  };
  return { server, recorded, review, deliver: (clientCA: string) => deliver({ ...serving, notAfter: 0, clientCA }) };
}

const REFUSED = /alert|hang up|ECONNRESET|EPIPE|disconnected/;

describe("a client certificate", () => {
  test("of the platform's CA is let in", async () => {
    const { review } = await serve();
    expect(await review(await platform.issue("kube-apiserver"))).toBe(true);
  });

  test("is required: without one nothing is answered and nothing recorded", async () => {
    const { review, recorded } = await serve();
    await expect(review()).rejects.toThrow(REFUSED);
    expect(recorded).toEqual([]);
  });

  test("of another CA is refused, whatever its name", async () => {
    const { review, recorded } = await serve();
    await expect(review(await somebody.issue("kube-apiserver"))).rejects.toThrow(REFUSED);
    expect(recorded).toEqual([]);
  });

  test("must have one of the names, where names are given: of its subject or a DNS name", async () => {
    const { review, recorded } = await serve(["kube-apiserver", "api.example.com"]);
    await expect(review(await platform.issue("kustomize-controller"))).rejects.toThrow(REFUSED);
    await expect(review(await platform.issue("kube-apiserver.example.com"))).rejects.toThrow(REFUSED);
    expect(recorded).toEqual([]);
    expect(await review(await platform.issue("kube-apiserver"))).toBe(true);
    expect(await review(await platform.issue("somebody", "api.example.com"))).toBe(true);
  });

  test("cannot be shown before the CA has arrived: nobody is let in, and it is not ready", async () => {
    const { server, review, deliver } = await serve([], null);
    expect(server.ready()).toBe(false);
    const certificate = await platform.issue("kube-apiserver");
    await expect(review(certificate)).rejects.toThrow(REFUSED);
    deliver(platform.ca);
    expect(server.ready()).toBe(true);
    expect(await review(certificate)).toBe(true);
  });

  test("of the CA before is refused once the CA has changed", async () => {
    const { review, deliver } = await serve();
    const [old, fresh] = [await platform.issue("kube-apiserver"), await somebody.issue("kube-apiserver")];
    expect(await review(old)).toBe(true);
    deliver(somebody.ca);
    await expect(review(old)).rejects.toThrow(REFUSED);
    expect(await review(fresh)).toBe(true);
  });
});
