/** The plugin's commands about the state store, as they are typed, on the real operator's port and a real Postgres. */
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { stripVTControlCharacters } from "node:util";
import { parseAllDocuments } from "yaml";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { EXIT } from "../../src/plugin/exit.ts";
import { appendAudit } from "../../src/store/audit.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { NOW } from "../support/builders.ts";
import { type FakePeople, plugin, type Ran, refused, type Sitting, startFakePeople } from "../support/fakePeople.ts";
import { deleting, openOperatorBench, type OperatorBench } from "../support/operatorBench.ts";

const LATER = "2099-01-01T00:00:00.000Z";
const WHO = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";

let api: FakePeople;
let bench: OperatorBench;
beforeAll(async () => {
  [api, bench] = await Promise.all([startFakePeople(), openOperatorBench()]);
});
afterAll(() => Promise.all([api?.close(), bench?.close()]));
beforeEach(() => {
  api.answers.clear();
  api.answers.set(WHO, { status: 201, body: { status: { userInfo: { username: "grace@acme.example" } } } });
});
afterEach(() => bench.clear());

const go = (args: readonly string[], sitting: Sitting = {}): Promise<Ran> =>
  plugin(args, {
    now: () => NOW,
    ...sitting,
    env: { KUBECONFIG: api.kubeconfig, UNIFIED_RBAC_OPS_URL: bench.url, ...sitting.env },
  });
const state = async (uuid: string) => (await loadSaga(bench.pool, uuid))?.state;
const table = ({ out }: Ran) =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {3,}/));

describe("cleanups", () => {
  test("are listed with what is pending, and none is a sentence", async () => {
    expect(await go(["cleanups"])).toMatchObject({ exit: 0, out: "", err: "No cleanup is pending.\n" });
    const lastError = {
      step: "keycloak",
      class: "transient",
      code: "UpstreamUnavailable",
      message: "Down.",
      at: LATER,
    };
    await bench.person("ada", { ...deleting({ undone: ["secret"] }), retry_count: 4, last_error: lastError });
    const ran = await go(["cleanups", "--tenant", "acme"]);
    expect(table(ran)[1]?.slice(0, 6)).toEqual([
      "acme",
      "tenant-a/ada",
      "ada@acme.example",
      "newapi,keycloak",
      "0 s ago",
      "4",
    ]);
    expect(ran.out).toContain("Down.");
    expect(JSON.parse((await go(["cleanups", "-o", "json"])).out)).toMatchObject({
      sagas: [{ email: "ada@acme.example" }],
    });
  });

  test("are waived after two questions and a reason, and the audit names who it was", async () => {
    const uuid = await bench.person("ada", deleting({ undone: ["secret"] }));
    const ran = await go(["cleanups", "waive", "ada"], { typed: ["y", "Ada@acme.example", "that Keycloak is gone"] });
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toContain("its key still works");
    expect(ran.out).toMatch(/waived; the service never removes: newapi, keycloak\n$/);
    expect(await state(uuid)).toBe("deleted");
    expect((await go(["audit", "ada"])).out).toMatch(
      /operator +waive +ada@acme\.example +by=grace@acme\.example .*reason=that Keycloak is gone/,
    );
  });

  test("of nobody, and of somebody who has nothing pending, are no cleanups", async () => {
    await bench.person("ada");
    expect(await go(["cleanups", "waive", "ada"])).toMatchObject({
      exit: EXIT.failed,
      err: "Nothing here can be waived: ada@acme.example is done.\n",
    });
    expect((await go(["cleanups", "waive", "nobody"])).exit).toBe(EXIT.notFound);
    expect((await go(["cleanups", "waive"])).exit).toBe(EXIT.usage);
    // The options of the inner command are its own, wherever they stand.
    const elsewhere = await go(["cleanups", "waive", "ada", "--yes", "-n", "elsewhere"]);
    expect(elsewhere).toMatchObject({ exit: EXIT.notFound, err: "The state store has nobody under elsewhere/ada.\n" });
  });
});

describe("orphans", () => {
  test("are listed beside those who were to be retained, and those in their grace", async () => {
    await bench.person("ada", { state: "orphaned" });
    await bench.person("bob", { state: "retained", cluster_id: "another" });
    await bench.person("cy", deleting({ purgeAt: LATER, locked: ["secret"] }));
    await bench.person("dan");
    const rows = table(await go(["orphans"])).slice(1);
    expect(rows.map(([, person, , why, , , cluster]) => [person, why, cluster])).toEqual([
      ["tenant-a/ada", "orphaned", "this"],
      ["tenant-a/bob", "retained", "another"],
      ["tenant-a/cy", "grace", "this"],
    ]);
    expect((await go(["orphans", "--tenant", "other"])).err).toBe("No accounts live on without an object.\n");
  });
});

describe("purge", () => {
  test("asks whether, then for the email, then why; and continues only with all three", async () => {
    const uuid = await bench.person("ada", { state: "orphaned" });
    for (const typed of [["n"], ["y", "bob@acme.example"], ["y", "ada@acme.example", " "], ["y", "\u0004"]]) {
      const ran = await go(["purge", "ada"], { typed });
      expect(ran.exit).not.toBe(0);
      expect(ran.err).toContain("othing was changed.");
      expect(await state(uuid)).toBe("orphaned");
    }
    const ran = await go(["purge", "ada"], { typed: ["y", "ada@acme.example", "left"] });
    expect(stripVTControlCharacters(ran.out)).toMatch(
      /Purge ada@acme\.example of tenant acme \(orphaned\)[^]*You cannot undo this\.\nContinue\? \[y\/N\]/,
    );
    expect(ran.out).toMatch(/ada@acme\.example is being purged: secret, newapi, keycloak\n$/);
    expect(await state(uuid)).toBe("deleting");
    expect(bench.looks()).toBe(1);
  });

  test("without a terminal needs every answer on the command line", async () => {
    const uuid = await bench.person("ada", { state: "orphaned" });
    const all = ["--yes", "--confirm", "ada@acme.example", "--reason", "left"];
    for (const left of [0, 1, 3]) {
      const some = all.toSpliced(left, left === 0 ? 1 : 2);
      const ran = await go(["purge", "ada", ...some]);
      expect(ran).toMatchObject({ exit: EXIT.usage, err: expect.stringContaining("nobody is there to ask") });
    }
    const wrong = all.with(2, "bob@acme.example");
    expect(await go(["purge", "ada", ...wrong])).toMatchObject({ exit: EXIT.usage, err: /another email/ });
    expect(await state(uuid)).toBe("orphaned");
    expect(await go(["purge", "--uuid", uuid, ...all, "-o", "json"])).toMatchObject({ exit: 0 });
    expect(await state(uuid)).toBe("deleting");
  });

  test("tells why not: somebody living, another cluster, an object that is back", async () => {
    const all = (name: string) => ["--yes", "--confirm", `${name}@acme.example`, "--reason", "left"];
    await bench.person("ada");
    expect((await go(["purge", "ada", ...all("ada")])).err).toBe(
      "Nothing here can be purged: ada@acme.example is done.\n",
    );
    const bob = await bench.person("bob", { state: "orphaned", cluster_id: "another" });
    expect(await go(["purge", "bob", ...all("bob")])).toMatchObject({ exit: EXIT.failed, err: /--other-cluster/ });
    bench.cluster.applyUser("tenant-a", "bob", { email: "bob@acme.example" });
    expect((await go(["purge", "bob", "--other-cluster", ...all("bob")])).err).toMatch(/gets these accounts back/);
    bench.cluster.loseUser("tenant-a", "bob");
    expect((await go(["purge", "bob", "--other-cluster", ...all("bob")])).exit).toBe(0);
    expect(await state(bob)).toBe("deleting");
  });

  test("of a name that stands for several rows asks which one is meant", async () => {
    const first = await bench.person("ada", { state: "retained" });
    await bench.pool.query("update user_provision_state set email = 'old@acme.example' where sme_user_uuid = $1", [
      first,
    ]);
    await bench.person("ada", { state: "orphaned" });
    const ran = await go(["purge", "ada"]);
    expect(ran.exit).toBe(EXIT.usage);
    expect(ran.err).toContain(`${first} (old@acme.example)`);
  });
});

describe("somebody who is gone", () => {
  test("has a status, a reason and an audit from the state store", async () => {
    const uuid = await bench.person("ada", { state: "orphaned" });
    await appendAudit(bench.pool, [{ uuid, tenantID: "acme", step: "keycloak", action: "created", target: "kc-ada" }]);
    expect((await go(["status", "ada"])).out).toMatch(
      /without an object\nState +orphaned[^]*\+ keycloak +created kc-ada/,
    );
    expect((await go(["why", "ada"])).out).toMatch(
      /has no TenantUser any more[^]*kubectl tenantuser purge ada -n tenant-a\n$/,
    );
    expect(table(await go(["audit", "--uuid", uuid]))[1]?.slice(1)).toEqual(["keycloak", "created", "kc-ada", "-"]);
    expect(await go(["why", "bob"])).toMatchObject({ exit: EXIT.notFound, err: /^There is no TenantUser bob/ });
    expect((await go(["audit", "bob"])).exit).toBe(EXIT.notFound);
  });
});

describe("export", () => {
  const page = (first: number) => [
    { id: `kc-${first}`, username: "u", enabled: true, email: `ada${first}@acme.example`, displayName: "Ada" },
    { id: `kx-${first}`, username: "u", enabled: true, email: `eve${first}@acme.example`, obstacle: "it is a boss" },
  ];
  beforeEach(() => {
    bench.access = {
      ...(bench.access as TenantAccess),
      realm: {
        ...bench.realm,
        unmanagedUsers: ({ first }) =>
          Promise.resolve({ unmanagedUsers: page(first), next: first < 100 ? first + 50 : undefined }),
      },
    };
  });

  test("gives manifests of every page, and says who was left out and why", async () => {
    const ran = await go(["export", "--tenant", "acme"]);
    const names = parseAllDocuments(ran.out).map(
      (document) => (document.toJS() as { metadata: { name: string } }).metadata.name,
    );
    expect(names).toEqual(["ada0", "ada50", "ada100"]);
    expect(ran.out).toContain("# Left out: eve50@acme.example: it is a boss.\n");
    expect(ran.err).toMatch(/3 can be adopted, 3 are left out\.\n$/);
  });

  test("writes one file a person, and overwrites none", async () => {
    const dir = join(api.folder, "users");
    expect((await go(["export", "--tenant", "acme", "--dir", dir])).exit).toBe(0);
    expect((await readdir(dir)).toSorted()).toEqual(["ada0.yaml", "ada100.yaml", "ada50.yaml"]);
    expect(await readFile(join(dir, "ada0.yaml"), "utf8")).toContain("email: ada0@acme.example");
    expect(await go(["export", "--tenant", "acme", "--dir", dir])).toMatchObject({
      exit: EXIT.failed,
      err: expect.stringContaining("ada0.yaml is there already, and was not overwritten."),
    });
  });

  test("says what the Tenant must allow first", async () => {
    const access = bench.access as TenantAccess;
    bench.access = { ...access, realmIsExclusive: false, spec: { ...access.spec, adoption: "Never" } };
    const { err } = await go(["export", "--tenant", "acme"]);
    expect(err).toContain("set spec.adoption: Unclaimed");
    expect(err).toContain("Another Tenant uses this realm");
    expect((await go(["export", "--tenant", "other"])).exit).toBe(EXIT.notFound);
  });
});

test("an operator whom the cluster does not name is still no stranger to the audit", async () => {
  api.answers.set(WHO, refused(403, "no"));
  const uuid = await bench.person("ada", { state: "orphaned" });
  await go(["purge", "ada", "--yes", "--confirm", "ada@acme.example", "--reason", "left"]);
  const { rows } = await bench.pool.query("select detail->>'by' as by from audit where sme_user_uuid = $1", [uuid]);
  expect(rows).toEqual([{ by: "unknown" }]);
});

test("whatever else answers at the port's address is no reconciler, and neither is silence", async () => {
  const other = createServer((_request, response) => response.end("<html>hello</html>"));
  await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  const foreign = await go(["cleanups", "--ops-url", `http://127.0.0.1:${port}`]);
  expect(foreign).toMatchObject({ exit: EXIT.failed, err: /is no reconciler of this version \(200\)/ });
  await new Promise<void>((resolve) => void other.close(() => resolve()));
  const silent = await go(["cleanups"], { env: { UNIFIED_RBAC_OPS_URL: `http://127.0.0.1:${port}` } });
  expect(silent).toMatchObject({ exit: EXIT.failed, err: /does not answer at its operator's port/ });
});

describe("the audit of everybody", () => {
  const HOUR_MS = 3_600_000;
  const at = (hoursAgo: number) => new Date(NOW.getTime() - hoursAgo * HOUR_MS).toISOString();
  const fill = (tenant: string, count: number, hoursAgo: number) =>
    bench.pool.query(
      `insert into audit (at, sme_user_uuid, sme_tenant_id, step, action, target, detail)
       select $3, gen_random_uuid(), $1, 'keycloak', 'created', 'kc-' || n, '{"email": true}'
       from generate_series(1, $2::int) n`,
      [tenant, count, at(hoursAgo)],
    );
  const linesOf = ({ out }: Ran) =>
    out
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { seq: string; at: string; tenantID: string });

  test("is one entry a line as JSON, in order, however many pages it has", async () => {
    await fill("acme", 1_500, 30);
    await fill("globex", 1_000, 2);
    const entries = linesOf(await go(["audit", "--all", "-o", "json"]));
    expect(entries).toHaveLength(2_500);
    expect(entries[0]).toEqual({
      seq: expect.stringMatching(/^\d+$/) as string,
      at: at(30),
      uuid: expect.any(String) as string,
      tenantID: "acme",
      step: "keycloak",
      action: "created",
      target: "kc-1",
      detail: { email: true },
    });
    const numbers = entries.map(({ seq }) => Number(seq));
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(2_500);
  });

  test("begins where it is told to, by a duration or a moment, and is of one tenant where that is wanted", async () => {
    await fill("acme", 3, 30);
    await fill("globex", 2, 2);
    await fill("acme", 1, 1);
    const tenants = async (...options: readonly string[]) =>
      linesOf(await go(["audit", ...options, "-o", "json"])).map(({ tenantID }) => tenantID);
    expect(await tenants("--all", "--since", "24h")).toEqual(["globex", "globex", "acme"]);
    expect(await tenants("--all", "--since", at(1))).toEqual(["acme"]);
    expect(await tenants("--tenant", "acme")).toEqual(["acme", "acme", "acme", "acme"]);
    expect(await tenants("--tenant", "nobody")).toEqual([]);
  });

  test("is a table for people, and refuses what it cannot mean", async () => {
    await fill("acme", 1, 1);
    expect(table(await go(["audit", "--all"]))[1]?.slice(1, 2)).toEqual(["acme"]);
    for (const wrong of [["--since", "yesterday", "--all"], ["ada", "--all"], []]) {
      expect((await go(["audit", ...wrong])).exit).toBe(EXIT.usage);
    }
    const { status } = await fetch(`${bench.url}/v1/audit?after=x`, {
      headers: { "x-unified-rbac-operator": "grace" },
    });
    expect(status).toBe(400);
  });
});
