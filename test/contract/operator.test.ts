/** The operator's port over HTTP, on a real Postgres: who is answered, what is shown, what is ended. */
import { randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { userEvent } from "../../src/api/userEvent.ts";
import { OPERATOR_HEADER, peopleAnswer, sagasAnswer, unmanagedUsersAnswer } from "../../src/api/operator.ts";
import { TransientError } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makeOperatorServer } from "../../src/ops/operatorServer.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { makeOperator } from "../../src/reconciler/operator.ts";
import { appendAudit } from "../../src/store/audit.ts";
import { type Claim, claimDue, record } from "../../src/store/claims.ts";
import { enqueueEvents, parkEvent, unsentEvents } from "../../src/store/outbox.ts";
import { makePool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import { NOW } from "../support/builders.ts";
import { deleting, openOperatorBench, type OperatorBench } from "../support/operatorBench.ts";

let bench: OperatorBench;
beforeAll(async () => {
  bench = await openOperatorBench();
});
afterAll(() => bench?.close());
afterEach(() => bench.clear());

const person: OperatorBench["person"] = (name, columns) => bench.person(name, columns);

async function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${bench.url}${path}`, {
    method,
    headers: {
      [OPERATOR_HEADER]: "grace",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    body: typeof body === "string" ? body : body === undefined ? null : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const order = (name: string, given: object = {}) => ({ email: `${name}@acme.example`, reason: "ticket 17", ...given });
const LATER = "2099-01-01T00:00:00.000Z";

describe("whoever asks", () => {
  test.each([
    ["names nobody", { [OPERATOR_HEADER]: "" }],
    ["hides a second line in the name", { [OPERATOR_HEADER]: "grace\u0085root" }],
    ["is a page of a browser", { origin: "https://evil.example" }],
    ["is a page that a browser tells of", { "sec-fetch-site": "same-origin" }],
  ])("is refused when it %s", async (_name, headers) => {
    expect(await send("GET", "/v1/cleanups", undefined, headers)).toMatchObject({
      status: 403,
      body: { error: { code: "NotAnOperator" } },
    });
  });

  test("is refused under a name that somebody chose for this machine", async () => {
    const status = await new Promise((resolve, reject) => {
      httpRequest(`${bench.url}/v1/cleanups`, {
        headers: { host: "rebound.example", [OPERATOR_HEADER]: "grace" },
      })
        .on("response", (answer) => resolve(answer.resume().statusCode))
        .on("error", reject)
        .end();
    });
    expect(status).toBe(403);
  });

  test.each([
    ["GET", "/", 404],
    ["GET", "/v2/cleanups", 404],
    ["GET", "/v1/people", 400],
    ["GET", "/v1/people?uuid=all", 400],
    ["GET", "/v1/unmanaged-users?tenant=acme&first=-1", 400],
    ["DELETE", "/v1/cleanups", 404],
    ["OPTIONS", "/v1/cleanups", 404],
    ["POST", "/v1/people/x/burn", 404],
  ])("gets a sentence for %s %s", async (method, path, status) => {
    const answer = await send(method, path);
    expect(answer).toMatchObject({ status, body: { error: { message: expect.stringMatching(/\.$/) } } });
  });

  test("gets no stack trace when Postgres fails", async () => {
    const broken = makePool({ url: "postgres://x:x@127.0.0.1:1/x", max: 1, applicationName: "test" });
    const operator = makeOperator({
      pool: broken,
      cluster: bench.cluster,
      clusterID: () => Promise.resolve("c"),
      tenants: { get: () => undefined },
      notify: () => undefined,
      clock: { now: () => NOW.getTime() },
      log: silentLog,
    });
    const other = makeOperatorServer({ address: { host: "127.0.0.1", port: 0 }, operator, log: silentLog });
    await other.start();
    const response = await fetch(`http://127.0.0.1:${other.port()}/v1/cleanups`, {
      headers: { [OPERATOR_HEADER]: "g" },
    });
    expect([response.status, await response.text()]).toEqual([
      503,
      expect.stringContaining("cannot be read right now"),
    ]);
    await other.stop();
    await broken.end();
  });
});

describe("the books", () => {
  test("tell cleanups and accounts without an object apart, by tenant", async () => {
    const ada = await person("ada", deleting({ undone: ["secret"] }));
    const bob = await person("bob", { state: "orphaned" });
    const cy = await person("cy", { state: "retained" });
    const dan = await person("dan", deleting({ purgeAt: LATER, locked: ["secret"] }));
    await person("eve");
    await person("fay", deleting({ released: false }));
    const cleanups = sagasAnswer.parse((await send("GET", "/v1/cleanups")).body);
    expect(cleanups.sagas.map(({ uuid, pending }) => [uuid, pending])).toEqual([[ada, ["newapi", "keycloak"]]]);
    const { sagas } = sagasAnswer.parse((await send("GET", "/v1/ownerless?tenant=acme")).body);
    expect(sagas.map(({ uuid, ownerless }) => [uuid, ownerless])).toEqual([
      [bob, "orphaned"],
      [cy, "retained"],
      [dan, "grace"],
    ]);
    expect((await send("GET", "/v1/ownerless?tenant=other")).body).toEqual({ sagas: [], truncated: false });
  });

  test("show one person by name, uuid or address, with what was done, oldest first", async () => {
    const uuid = await person("ada");
    const entry = { uuid, tenantID: "acme", step: "keycloak", target: "kc-ada" };
    await appendAudit(bench.pool, [{ ...entry, action: "created" }]);
    await appendAudit(bench.pool, [{ ...entry, action: "updated", detail: { email: true } }]);
    for (const query of ["namespace=tenant-a&name=ada", `uuid=${uuid}`, "email=ADA%40acme.example"]) {
      const found = peopleAnswer.parse((await send("GET", `/v1/people?${query}`)).body);
      expect(found.sagas).toMatchObject([{ uuid, email: "ada@acme.example", state: "done", thisCluster: true }]);
      expect(found.audit.map(({ action }) => action)).toEqual(["created", "updated"]);
    }
    expect((await send("GET", "/v1/people?namespace=tenant-a&name=nobody")).body).toMatchObject({ sagas: [] });
  });

  test("show nothing that was never confirmed, and no column that holds nothing for people", async () => {
    await person("ada", { confirmed_at: null });
    await person("bob", { newapi_master_key: 3 });
    expect((await send("GET", "/v1/people?namespace=tenant-a&name=ada")).body).toMatchObject({ sagas: [] });
    const { body } = await send("GET", "/v1/people?namespace=tenant-a&name=bob");
    expect(JSON.stringify(body)).not.toMatch(/master|lease|fingerprint|blockedOn/i);
  });
});

describe("a purge", () => {
  test("makes an orphan due to be undone, and writes down who wanted it and why", async () => {
    const uuid = await person("ada", { state: "orphaned" });
    const answer = await send("POST", `/v1/people/${uuid}/purge`, order("ada"));
    expect(answer).toMatchObject({ status: 200, body: { pending: ["secret", "newapi", "keycloak"] } });
    expect(await loadSaga(bench.pool, uuid)).toMatchObject({
      state: "deleting",
      deleting: { released: true },
      dueAt: NOW,
    });
    expect(bench.looks()).toBe(1);
    const { audit } = peopleAnswer.parse((await send("GET", `/v1/people?uuid=${uuid}`)).body);
    expect(audit).toMatchObject([
      {
        step: "operator",
        action: "purge",
        target: "ada@acme.example",
        detail: { by: "grace", reason: "ticket 17", before: "orphaned" },
      },
    ]);
  });

  test("ends what a lost cluster had begun to delete, whatever was left of it", async () => {
    const lost = { state: "orphaned", cluster_id: "another" };
    const held = await person("ada", { ...deleting({ released: false, undone: ["secret"] }), ...lost });
    const inGrace = await person("bob", { ...deleting({ purgeAt: LATER, locked: ["secret"] }), ...lost });
    const { sagas } = sagasAnswer.parse((await send("GET", "/v1/ownerless")).body);
    expect(sagas.map(({ uuid, ownerless, thisCluster, purgeAt }) => [uuid, ownerless, thisCluster, purgeAt])).toEqual([
      [held, "orphaned", false, undefined],
      [inGrace, "orphaned", false, undefined],
    ]);
    const purge = (uuid: string, name: string, given: object) =>
      send("POST", `/v1/people/${uuid}/purge`, order(name, given));
    expect(await purge(held, "ada", {})).toMatchObject({
      status: 409,
      body: { error: { message: /another cluster/ } },
    });
    const sure = { otherCluster: true };
    expect(await purge(held, "ada", sure)).toMatchObject({ status: 200, body: { pending: ["newapi", "keycloak"] } });
    expect((await purge(inGrace, "bob", sure)).status).toBe(200);
    for (const uuid of [held, inGrace]) {
      const row = await loadSaga(bench.pool, uuid);
      expect(row).toMatchObject({ state: "deleting", dueAt: NOW, deleting: { released: true } });
      expect(row?.deleting?.purgeAt).toBeUndefined();
    }
  });

  test("changes nothing when the email is another one, the object is back, or a person lives", async () => {
    const orphan = await person("ada", { state: "orphaned" });
    const living = await person("bob");
    const wrong = await send("POST", `/v1/people/${orphan}/purge`, order("bob"));
    expect(wrong).toMatchObject({ status: 409, body: { error: { message: /another email/ } } });
    bench.cluster.applyUser("tenant-a", "ada", { email: "Ada@acme.example" });
    const back = await send("POST", `/v1/people/${orphan}/purge`, order("ada"));
    expect(back).toMatchObject({ status: 409, body: { error: { message: /gets these accounts back/ } } });
    const alive = await send("POST", `/v1/people/${living}/purge`, order("bob"));
    expect(alive).toMatchObject({ status: 409, body: { error: { message: /remove it from Git/ } } });
    expect([(await loadSaga(bench.pool, orphan))?.state, (await loadSaga(bench.pool, living))?.state]).toEqual([
      "orphaned",
      "done",
    ]);
    expect((await bench.pool.query("select 1 from audit")).rowCount).toBe(0);
  });

  test("continues when the name belongs to somebody else by now", async () => {
    const uuid = await person("ada", { state: "orphaned" });
    bench.cluster.applyUser("tenant-a", "ada", { email: "another@acme.example" });
    expect((await send("POST", `/v1/people/${uuid}/purge`, order("ada"))).status).toBe(200);
  });

  test("is refused without a reason, with a second line in it, with too much, and for nobody", async () => {
    const uuid = await person("ada", { state: "orphaned" });
    const path = `/v1/people/${uuid}/purge`;
    expect((await send("POST", path, { email: "ada@acme.example" })).status).toBe(400);
    expect((await send("POST", path, order("ada", { reason: "a\nb" }))).status).toBe(400);
    expect((await send("POST", path, order("ada", { all: true }))).status).toBe(400);
    expect((await send("POST", path, order("ada", { reason: "x".repeat(20_000) }))).status).toBe(400);
    expect((await send("POST", path, order("ada"), { "content-type": "text/plain" })).status).toBe(400);
    expect((await send("POST", path, "{")).status).toBe(400);
    expect((await send("POST", `/v1/people/${randomUUID()}/purge`, order("ada"))).status).toBe(404);
    expect((await loadSaga(bench.pool, uuid))?.state).toBe("orphaned");
  });
});

describe("a waived cleanup", () => {
  test("ends the row, keeps the ids for whoever cleans up, and tells everybody", async () => {
    const uuid = await person("ada", deleting({ undone: ["secret"] }));
    const answer = await send("POST", `/v1/cleanups/${uuid}/waive`, order("ada"));
    expect(answer).toMatchObject({ status: 200, body: { pending: ["newapi", "keycloak"] } });
    expect(await loadSaga(bench.pool, uuid)).toMatchObject({
      state: "deleted",
      keycloakUserID: "kc-ada",
      dueAt: undefined,
    });
    const unsent = await unsentEvents(bench.pool, 10, 10);
    expect(unsent.map(({ payload }) => payload.type)).toEqual(["sme.user.deleted"]);
    expect((await send("POST", `/v1/cleanups/${uuid}/waive`, order("ada"))).status).toBe(409);
  });

  test("takes the row from a worker that is just paying it", async () => {
    const uuid = await person("ada", { ...deleting({}), due_at: new Date(0) });
    const session = await openWorkerSession(bench.databaseURL, "test worker");
    const [claim] = await claimDue(bench.pool, session.owner, 1);
    await send("POST", `/v1/cleanups/${uuid}/waive`, order("ada"));
    const late = await record(bench.pool, claim as Claim, {
      patch: { state: "deleting" },
      lease: { dueAt: null },
      audit: [],
      events: [],
    });
    expect(late).toBeUndefined();
    expect((await loadSaga(bench.pool, uuid))?.state).toBe("deleted");
    await session.close();
  });
});

describe("the people of a realm", () => {
  test("come with why they may not be adopted, Keycloak's reasons and the Tenant's", async () => {
    const asked: unknown[] = [];
    bench.access = {
      ...(bench.access as TenantAccess),
      realm: {
        ...bench.realm,
        unmanagedUsers: (request) => {
          asked.push(request);
          const common = { username: "u", enabled: true };
          const unmanagedUsers = [
            { ...common, id: "1", email: "ada@acme.example" },
            { ...common, id: "2", email: "eve@evil.example" },
            { ...common, id: "3", email: "bob@acme.example", obstacle: "its email is not verified" },
          ];
          return Promise.resolve({ unmanagedUsers, next: 50 });
        },
      },
    };
    const found = unmanagedUsersAnswer.parse((await send("GET", "/v1/unmanaged-users?tenant=acme&first=50")).body);
    expect(asked).toEqual([{ first: 50, allowedGroups: ["/sme-users", "/devs"] }]);
    expect(found).toMatchObject({ realm: "acme", adoption: "Unclaimed", namespaces: ["tenant-a"], next: 50 });
    expect(found.unmanagedUsers.map(({ obstacle }) => obstacle)).toEqual([
      undefined,
      "its email domain evil.example is not in the Tenant's allow.emailDomains",
      "its email is not verified",
    ]);
  });

  test("cannot be shown without the Tenant, its credentials or Keycloak: a sentence each", async () => {
    expect(await send("GET", "/v1/unmanaged-users?tenant=other")).toMatchObject({ status: 404 });
    bench.realm.fail(
      "unmanagedUsers",
      new TransientError({ code: "UpstreamUnavailable", message: "keycloak is away." }),
    );
    expect(await send("GET", "/v1/unmanaged-users?tenant=acme")).toMatchObject({
      status: 502,
      body: { error: { message: "keycloak is away." } },
    });
    bench.access = { ...(bench.access as TenantAccess), realm: undefined, notReadyMessage: "Secret k does not exist." };
    expect(await send("GET", "/v1/unmanaged-users?tenant=acme")).toMatchObject({
      status: 404,
      body: { error: { message: "There are no credentials for Keycloak. Secret k does not exist." } },
    });
  });
});

describe("a parked event", () => {
  test("is shown with its reason, to those who ask for its tenant, and is sent again when an operator says so", async () => {
    const uuid = randomUUID();
    const of = { uuid, tenantID: "acme", email: "ada@acme.example", keycloakUserID: "kc-1", newapiUserID: undefined };
    const event = userEvent({ type: "sme.user.created", ...of, secretName: undefined, n: "", metadata: {} }, NOW);
    await enqueueEvents(bench.pool, [event]);
    const [entry] = await unsentEvents(bench.pool, 10, 10);
    await parkEvent(bench.pool, entry?.seq ?? "", "It has 2000000 bytes.");

    const shown = await send("GET", "/v1/parked-events?tenant=acme");
    expect(shown).toMatchObject({
      status: 200,
      body: { events: [{ id: event.id, uuid, tenantID: "acme", reason: "It has 2000000 bytes." }], truncated: false },
    });
    expect((await send("GET", "/v1/parked-events?tenant=zeta")).body).toEqual({ events: [], truncated: false });
    expect((await send("POST", "/v1/parked-events/retry?tenant=zeta", {})).body).toEqual({ retried: 0 });
    const before = bench.looks();
    expect((await send("POST", "/v1/parked-events/retry?tenant=acme", {})).body).toEqual({ retried: 1 });
    expect(bench.looks()).toBe(before + 1);
    expect((await unsentEvents(bench.pool, 10, 10)).map(({ payload }) => payload.id)).toEqual([event.id]);
  });
});
