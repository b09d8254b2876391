/** What our webhook is measured against does the same outside work: its calls are journaled beside ours. */
import { afterEach, describe, expect, it } from "vitest";
import * as z from "zod";

import { startChild } from "../../../bench/children.ts";
import { makeRecord, RECORD_POOL } from "../../../src/admission/record.ts";
import { makeAdmissionServer } from "../../../src/admission/server.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { recordCandidates } from "../../../src/store/admissions.ts";
import { makePool } from "../../../src/store/pool.ts";
import { type CertificateSet, makeCertificates } from "../../../src/tls/authority.ts";
import { knownTenant, reviewOf, webhookClient } from "../../support/admission.ts";
import { freshDatabase } from "../../support/postgres.ts";
import { type StatementJournal, statementJournal } from "../../support/statementJournal.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const REVIEWS = 20;
/** Ours is a function of the database that inserts (src/store/migrations). */
const INSERT = /insert into user_provision_state|from record_candidate\(/;

interface Server {
  readonly port: number;
  readonly journal: StatementJournal;
  readonly set: CertificateSet;
}

async function place(): Promise<{ journal: StatementJournal; set: CertificateSet }> {
  const database = await freshDatabase();
  cleanups.push(() => database.drop());
  const journal = await statementJournal(database.url);
  cleanups.push(() => journal[Symbol.asyncDispose]());
  return { journal, set: await makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() }) };
}

async function ours(): Promise<Server> {
  const { journal, set } = await place();
  const pool = makePool({ url: journal.url, ...RECORD_POOL, connectionTimeoutMs: 10_000, statementTimeoutMs: 10_000 });
  const server = makeAdmissionServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls: {
      subscribe(listener) {
        listener({ ...set, notAfter: 0 });
        return () => {};
      },
    },
    log: silentLog,
    tenants: { lookup: () => knownTenant(), loaded: true },
    record: makeRecord({
      write: (candidates) => recordCandidates(pool, candidates),
      clock: systemClock,
      log: silentLog,
    }),
  });
  await server.start();
  cleanups.push(
    () => pool.end(),
    () => server.stop(),
  );
  return { port: server.port(), journal, set };
}

async function floor(): Promise<Server> {
  const { journal, set } = await place();
  const child = startChild("floors/webhook.ts", { cert: set.cert, key: set.key, databaseURL: journal.url });
  cleanups.push(() => child.stop());
  const { port } = await child.says(z.object({ port: z.number() }));
  return { port, journal, set };
}

async function send({ port, set }: Server, path: string): Promise<readonly unknown[]> {
  const client = webhookClient({ port, ca: set.ca });
  try {
    const answers: unknown[] = [];
    for (let n = 0; n < REVIEWS; n += 1) {
      const { answer } = await client.send(`${path}?timeout=2s`, reviewOf({ name: `p${n}` }));
      expect(answer.response.allowed).toBe(true);
      answers.push(answer.response.patch);
    }
    return answers;
  } finally {
    client.close();
  }
}

describe.each([
  ["ours", ours],
  ["the floor", floor],
])("%s", (_name, start) => {
  it("commits one INSERT for each review at /validate, in one round trip", async () => {
    const server = await start();
    await send(server, "/validate");
    expect(server.journal.syncs()).toBe(REVIEWS);
    expect(server.journal.texts.length).toBeGreaterThan(0);
    for (const text of server.journal.texts) expect(text).toMatch(INSERT);
  });

  it("answers with a patch at /mutate, and asks Postgres nothing", async () => {
    const server = await start();
    const patches = await send(server, "/mutate");
    for (const patch of patches) expect(patch).toEqual(expect.any(String));
    expect(server.journal.syncs()).toBe(0);
  });
});
