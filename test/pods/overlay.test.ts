/**
 * manifests/overlays/default, unchanged, in real Pods: what they do, what they may not, and what reaches them. All the while
 * people are written, and the webhook's certificate is renewed.
 */
import { randomBytes } from "node:crypto";
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { afterAll, assert, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { addressesOf } from "../../stack/node/addresses.ts";
import { readState } from "../../stack/state.ts";
import { allServe, beginWithAgedCertificate, storedCertificate } from "../support/agedCertificate.ts";
import { type Load, startLoad } from "../support/podLoad.ts";
import { connectTo, openPods, openProbe, type Pod, type Pods } from "../support/pods.ts";
import type { TestTenant } from "../support/tenant.ts";
import { openTerminal } from "../support/terminal.ts";

let pods: Pods;
let tenant: TestTenant;
let replicas: Pod[];
let aged: string;
let load: Load;

beforeAll(async () => {
  pods = await openPods();
  await pods.settled();
  aged = await beginWithAgedCertificate(pods, RENEW_IN_MS);
  replicas = await pods.settled();
  tenant = await pods.tenant("overlay");
  load = await startLoad(pods.api, tenant, "load");
});
afterAll(async () => {
  await load?.stop().catch(() => {});
  await pods?.close();
});

/** From the beginning; the reconciler looks once a minute. */
const RENEW_IN_MS = 90_000;

const [webhook, reconciler] = ["webhook", "reconciler"] as const;
const nameOf = (at: number): string => replicas[at]?.metadata.name ?? "";

describe("the shipped overlay", () => {
  it("runs both replicas, with both containers Ready and never restarted", () => {
    expect(replicas.length).toBe(2);
    const containers = replicas.flatMap(({ status }) => status.containerStatuses);
    expect(containers.map(({ name, ready, restartCount }) => [name, ready, restartCount])).toEqual([
      [reconciler, true, 0],
      [webhook, true, 0],
      [reconciler, true, 0],
      [webhook, true, 0],
    ]);
  });

  it("makes a committed person Ready, through Flux, the Service, a webhook's Pod and a reconciler's Pod", async () => {
    const reviewed = async (): Promise<number> => {
      const counts = await Promise.all(replicas.map(({ metadata }) => reviewsAt(metadata.name)));
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const before = await reviewed();
    const commit = await tenant.commit({ "users/ada.yaml": tenant.manifest("ada") });
    await tenant.applied(commit);
    const { apiKey } = await tenant.person("ada");
    expect(await reviewed()).toBeGreaterThanOrEqual(before + 2);
    const headers = { authorization: `Bearer ${apiKey}` };
    expect((await fetch(`${pods.env.NEWAPI_URL}/v1/models`, { headers })).status).toBe(200);
  });

  it("lets kubectl tenantuser reach the operator's port through a port-forward", async () => {
    const name = `plugin-pods-${randomBytes(3).toString("hex")}`;
    const terminal = await openTerminal(pods.env, name, { people: true, books: true });
    onTestFinished(() => terminal.close());
    for (const command of ["cleanups", "orphans", "status ada", "audit ada"]) {
      const { exit, err, out } = await terminal.type(`kubectl tenantuser ${command} -n ${tenant.namespace}`);
      assert(exit === 0, `${command} ended with ${exit}: ${err}${out}`);
    }
    const { out } = await terminal.type(`kubectl tenantuser audit ada -n ${tenant.namespace}`);
    expect(out).toContain("keycloak");
  });
});

/** Reviews that this Pod's webhook has answered. */
async function reviewsAt(name: string): Promise<number> {
  const read = `fetch("http://127.0.0.1:8080/metrics").then((a) => a.text()).then((text) => console.log(text))`;
  const text = await pods.evaluate(name, webhook, read);
  const lines = text.matchAll(/^unified_rbac_admission_requests_total\{[^}]*\} (\d+)$/gm);
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

describe.each([webhook, reconciler])("the container %s", (container) => {
  it("is no root, has no capability, may gain no privilege, and is filtered by seccomp", async () => {
    const text = await pods.evaluate(
      nameOf(0),
      container,
      `console.log(require("fs").readFileSync("/proc/self/status", "utf8"))`,
    );
    expect(text).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(text).toMatch(/^CapEff:\t0+$/m);
    expect(text).toMatch(/^CapBnd:\t0+$/m);
    expect(text).toMatch(/^NoNewPrivs:\t1$/m);
    expect(text).toMatch(/^Seccomp:\t2$/m);
  });

  it("cannot write to its files", async () => {
    const write = (path: string): string =>
      `try { require("fs").writeFileSync("${path}", ""); console.log("written"); } catch (e) { console.log(e.code); }`;
    const tried = ["/app/x", "/x"].map((path) => pods.evaluate(nameOf(0), container, write(path)));
    expect((await Promise.all(tried)).map((word) => word.trim())).toEqual(["EROFS", "EROFS"]);
  });

  it(`has ${container === webhook ? "no" : "a"} token of the API server`, async () => {
    const has = `console.log(require("fs").existsSync("/var/run/secrets/kubernetes.io/serviceaccount/token"))`;
    expect((await pods.evaluate(nameOf(0), container, has)).trim()).toBe(String(container === reconciler));
  });

  it("sees only its own login to the database", async () => {
    const read = `console.log(new URL(require("fs").readFileSync("/database/url", "utf8")).username)`;
    expect((await pods.evaluate(nameOf(0), container, read)).trim()).toBe(`unified_rbac_${container}`);
  });
});

describe("the namespace", () => {
  it("takes no Pod that PodSecurity restricted forbids", async () => {
    const spec = { containers: [{ name: "x", image: "x", securityContext: { privileged: true } }] };
    const path = `/api/v1/namespaces/${OPERATOR_NAMESPACE}/pods?dryRun=All`;
    const { status, body } = await pods.api.send("POST", path, { metadata: { name: "x" }, spec });
    expect(status).toBe(403);
    expect(body["message"]).toContain('violates PodSecurity "restricted:latest"');
  });
});

describe("the NetworkPolicy", () => {
  it("lets monitoring read the metrics, everybody call the webhook, and nobody else anything", async () => {
    const [stranger, monitoring] = await Promise.all([openProbe(pods, "elsewhere"), openProbe(pods, "monitoring")]);
    onTestFinished(async () => void (await Promise.all([stranger.close(), monitoring.close()])));
    const ip = replicas[0]?.status.podIP ?? "";
    const from = async (probe: typeof stranger, port: number): Promise<string> =>
      (await probe.evaluate(connectTo(ip, port))).trim();
    const ports = [9443, 8080, 8081, 8082];
    // A probe's address reaches the rules a moment after its Pod runs.
    await expect.poll(() => from(monitoring, 8080)).toBe("open");
    const open = async (probe: typeof stranger): Promise<number[]> => {
      const words = await Promise.all(ports.map(async (port) => [port, await from(probe, port)] as const));
      return words.flatMap(([port, word]) => (word === "open" ? [port] : []));
    };
    expect(await open(monitoring)).toEqual([9443, 8080, 8081]);
    expect(await open(stranger)).toEqual([9443]);
  });

  it("lets the Pods out to the ports of their upstreams and to no others", async () => {
    const { hostIP } = addressesOf(readState(pods.env.STACK_DIR).node?.slot ?? 0);
    // What a mail server or a metadata service would be.
    const other = createServer((socket) => socket.end()).listen(0, hostIP);
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const { port } = other.address() as AddressInfo;
    const stranger = await openProbe(pods, "elsewhere");
    onTestFinished(() => stranger.close());
    expect((await stranger.evaluate(connectTo(hostIP, port))).trim()).toBe("open");
    const targets: readonly (readonly [string, number])[] = [
      [hostIP, port],
      ...[5432, 4222, 8080, 3000].map((upstream) => [hostIP, upstream] as const),
      ["postgres.postgres.svc", 5432],
    ];
    for (const container of [webhook, reconciler]) {
      const words = await Promise.all(
        targets.map(([host, at]) => pods.evaluate(nameOf(0), container, connectTo(host, at))),
      );
      const reached = targets.filter((_, at) => words[at]?.trim() === "open");
      expect(reached).toEqual(targets.slice(1));
    }
  });
});

describe("a certificate that is renewed under load", () => {
  it("fails no review", async () => {
    await expect.poll(() => storedCertificate(pods), { timeout: 180_000, interval: 1_000 }).not.toBe(aged);
    const began = load.writes();
    await allServe(replicas, await storedCertificate(pods));
    await expect.poll(load.writes).toBeGreaterThan(began + 100);
    const { unmutated, skipped } = await load.stop();
    expect({ unmutated, skipped }).toEqual({ unmutated: [], skipped: 0 });
  }, 300_000);
});
