import { describe, expect, test } from "vitest";
import { ConflictError } from "../../../src/lib/errors.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { type CertificateSet, LIFETIME_MS, planRenewal } from "../../../src/tls/authority.ts";
import { type CertificatePort, makeRenewer } from "../../../src/tls/renewer.ts";

const SUBJECT = { dnsNames: ["webhook.ns.svc"], ips: [] };
const signal = new AbortController().signal;

function cluster() {
  const state = { set: undefined as CertificateSet | undefined, revision: 0, bundle: "", journal: [] as string[] };
  /** What the webhook of this Pod was given. */
  const handed: string[] = [];
  const disk = { broken: false };
  const port: CertificatePort<number> = {
    readSecret: async () => (state.set === undefined ? undefined : { set: state.set, stored: state.revision }),
    async writeSecret(set, stored) {
      if ((stored ?? 0) !== state.revision) throw new ConflictError({ code: "Conflict", message: "moved" });
      state.journal.push("secret");
      state.set = set;
      state.revision++;
    },
    async setCABundle(ca) {
      if (state.bundle !== ca) state.journal.push("bundle");
      state.bundle = ca;
      return [];
    },
    async handOver({ cert }) {
      if (!disk.broken) handed.push(cert);
      return !disk.broken;
    },
  };
  return { state, port, handed, disk };
}

describe("the renewer", () => {
  test("makes the first certificate and has it trusted", async () => {
    const { state, port } = cluster();
    const clock = { now: () => Date.now() };
    const renewer = makeRenewer({ port, subject: SUBJECT, clock, log: silentLog });
    expect(await renewer.renew(signal)).toBe("renewed");
    expect(state.bundle).toBe(state.set?.ca);
    expect(await renewer.renew(signal)).toBe("kept");
    expect(state.journal).toEqual(["secret", "bundle"]);
  });

  test("has a new CA trusted beside the old one before the new leaf is there", async () => {
    const { state, port } = cluster();
    const world = { now: Date.now() };
    const renewer = makeRenewer({ port, subject: SUBJECT, clock: { now: () => world.now }, log: silentLog });
    await renewer.renew(signal);
    const before = state.bundle;
    state.journal.length = 0;
    world.now += LIFETIME_MS * 0.7;
    expect(await renewer.renew(signal)).toBe("renewed");
    expect(state.journal).toEqual(["bundle", "secret"]);
    expect(state.bundle).toContain(before);
    expect(planRenewal(state.set, SUBJECT, world.now).action).toBe("keep");
  });

  test("puts back a bundle that somebody took away", async () => {
    const { state, port } = cluster();
    const renewer = makeRenewer({ port, subject: SUBJECT, clock: { now: () => Date.now() }, log: silentLog });
    await renewer.renew(signal);
    state.bundle = "";
    await renewer.renew(signal);
    expect(state.bundle).toBe(state.set?.ca);
  });

  test("of several replicas one wins, and all trust what it wrote", async () => {
    const { state, port } = cluster();
    const clock = { now: () => Date.now() };
    const replicas = Array.from({ length: 4 }, () => makeRenewer({ port, subject: SUBJECT, clock, log: silentLog }));
    const outcomes = await Promise.all(replicas.map((renewer) => renewer.renew(signal)));
    expect(outcomes.toSorted()).toEqual(["lost", "lost", "lost", "renewed"]);
    expect(state.bundle).toBe(state.set?.ca);
  });

  test("hands the first certificate over at once, whoever made it, and each one once", async () => {
    const { state, port, handed } = cluster();
    const clock = { now: () => Date.now() };
    const [mine, theirs] = [1, 2].map(() => makeRenewer({ port, subject: SUBJECT, clock, log: silentLog }));
    await mine?.renew(signal);
    expect(handed).toEqual([state.set?.cert]);
    // The other Pod's: it finds the Secret.
    expect(await theirs?.renew(signal)).toBe("kept");
    expect(handed).toEqual([state.set?.cert, state.set?.cert]);
    await mine?.renew(signal);
    await theirs?.renew(signal);
    expect(handed).toHaveLength(2);
  });

  test("a replica that lost the race hands over what the other wrote", async () => {
    const { state, port, handed } = cluster();
    const clock = { now: () => Date.now() };
    const replicas = Array.from({ length: 3 }, () => makeRenewer({ port, subject: SUBJECT, clock, log: silentLog }));
    await Promise.all(replicas.map((renewer) => renewer.renew(signal)));
    expect(handed).toEqual(replicas.map(() => state.set?.cert));
  });

  test("a renewed certificate waits for one more poll, so that every API server has noticed the new CA", async () => {
    const { state, port, handed } = cluster();
    const world = { now: Date.now() };
    const renewer = makeRenewer({ port, subject: SUBJECT, clock: { now: () => world.now }, log: silentLog });
    await renewer.renew(signal);
    const first = state.set?.cert;
    world.now += LIFETIME_MS * 0.7;
    expect(await renewer.renew(signal)).toBe("renewed");
    expect(handed).toEqual([first]);
    expect(await renewer.renew(signal)).toBe("kept");
    expect(handed).toEqual([first, state.set?.cert]);
  });

  test("after the Secret was lost nothing vouches for the old certificate: the new one is handed over at once", async () => {
    const { state, port, handed } = cluster();
    const renewer = makeRenewer({ port, subject: SUBJECT, clock: { now: () => Date.now() }, log: silentLog });
    await renewer.renew(signal);
    state.set = undefined;
    state.revision = 0;
    expect(await renewer.renew(signal)).toBe("renewed");
    expect(handed.at(-1)).toBe(state.set?.["cert"]);
    expect(new Set(handed).size).toBe(2);
  });

  test("what could not be handed over is handed over at the next poll", async () => {
    const { state, port, handed, disk } = cluster();
    const renewer = makeRenewer({ port, subject: SUBJECT, clock: { now: () => Date.now() }, log: silentLog });
    disk.broken = true;
    expect(await renewer.renew(signal)).toBe("renewed");
    disk.broken = false;
    await renewer.renew(signal);
    expect(handed).toEqual([state.set?.cert]);
  });
});
