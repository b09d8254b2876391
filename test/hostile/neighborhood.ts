/** Runs the attacks one after the other beside the calm tenant, and asks afterwards what of them was felt, named or shown. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import * as z from "zod";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { projectRoot } from "../../stack/paths.ts";
import type { Product } from "../../stack/product/index.ts";
import type { Environment } from "../crash/environment.ts";
import { makeFixture, isReady, type Quarter, type Fixture } from "../crash/fixture.ts";
import { makeDoor } from "../crash/faults.ts";
import { ATTACKS, type Attacker } from "./attacks.ts";
import { joined, makeCalm, type Times } from "./calm.ts";
import { makeManifests } from "./manifests.ts";
import { makeRandom } from "./random.ts";
import { startHostileUpstream } from "./upstream.ts";

export interface Size {
  /** How many people wait at once. */
  readonly crowd: number;
  readonly phaseMs: number;
  /** At least so many rounds of the everyday in each phase. */
  readonly rounds: number;
  /** On a machine that others share a ratio is shown, and says nothing. */
  readonly isJudged: boolean;
}

export interface Phase {
  readonly name: string;
  readonly times: Times;
  /** By HTTP status, what the API server answered to the attack's commits. */
  readonly answered: Readonly<Record<string, number>>;
}

export interface Hostile extends Size {
  readonly seed: number;
  readonly quiet: Times;
  readonly phases: readonly Phase[];
  /** Peak resident memory of each role and its container's limit, in bytes. */
  readonly memory: readonly { readonly role: string; readonly peak: number; readonly limit: number }[];
  /** How many answers of each kind the hostile upstreams gave. */
  readonly answers: Readonly<Record<string, number>>;
  /** Invariants that were broken, one sentence each. */
  readonly failures: readonly string[];
}

const ROLES = ["webhook", "reconciler"] as const;
const named = z.object({ metadata: z.object({ name: z.string() }) });
const SETTLED_MS = 180_000;

export async function runHostile(
  environment: Environment,
  id: string,
  size: Size & { readonly seed: number; readonly only: string | undefined },
  say: (text: string) => void,
): Promise<Hostile> {
  const { env, api } = environment;
  const random = makeRandom(size.seed);
  const mark = `zq${size.seed.toString(36)}`;
  const keycloak = await startHostileUpstream(env.KEYCLOAK_URL, size.seed, mark);
  const gateway = await startHostileUpstream(env.NEWAPI_URL, size.seed + 1, mark);
  const apiURL = new URL(env.KUBE_API_URL);
  const kubernetes = await makeDoor({ host: apiURL.hostname, port: Number(apiURL.port) });
  const fixture = await makeFixture(environment, id);
  try {
    const calmQuarter = await fixture.quarter("calm");
    const hostileQuarter = await fixture.quarter("hostile", {
      keycloakURL: keycloak.url,
      newapiURL: gateway.url,
      patch: { limits: { maxUsers: 10_000 } },
    });
    await liftQuota(environment, hostileQuarter);
    const product = await fixture.start("hostile", [...ROLES], {
      KUBECONFIG: throughDoor(environment, kubernetes.port),
      DRIFT_SECONDS: "60",
    });
    await Promise.all([fixture.ready(calmQuarter), fixture.ready(hostileQuarter)]);
    const pids = ROLES.map((role) => product.process(role).pid);
    const calm = makeCalm(api, fixture.db, calmQuarter, kubernetes);

    say("quiet");
    // Not counted: what is only ever slow the first time.
    await calm.measure((rounds) => rounds < 1);
    const before = await calm.measure((rounds) => rounds < size.rounds);

    const attacker: Attacker = {
      api,
      quarter: hostileQuarter,
      manifests: makeManifests(random, mark),
      random,
      keycloak,
      gateway,
      crowd: size.crowd,
      answered: new Map(),
    };
    const phases: Phase[] = [];
    const failures: string[] = [];
    for (const attack of ATTACKS) {
      if (size.only !== undefined && !attack.name.includes(size.only)) continue;
      say(attack.name);
      attacker.answered = new Map();
      const over = new AbortController();
      const attacking = attack.run(attacker, over.signal);
      const until = Date.now() + size.phaseMs;
      try {
        const times = await calm.measure((rounds) => Date.now() < until || rounds < size.rounds);
        phases.push({ name: attack.name, times, answered: Object.fromEntries(attacker.answered) });
        // One that reaches nobody proves nothing.
        if (![...attacker.answered].some(([status, count]) => count > 0 && status >= 200 && status < 300)) {
          failures.push(`While ${attack.name}: not one commit was taken (${JSON.stringify(phases.at(-1)?.answered)}).`);
        }
      } catch (error) {
        failures.push(`While ${attack.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
      over.abort();
      await attacking;
    }

    say("what became of it");
    failures.push(...(await shown(environment, calmQuarter, [mark, hostileQuarter.id], "the calm tenant")));
    failures.push(
      ...(await shown(
        environment,
        hostileQuarter,
        [`@${calmQuarter.id}`, calmQuarter.namespace],
        "the hostile tenant",
      )),
    );
    await api.send("DELETE", collectionPath("TenantUser", hostileQuarter.namespace));
    const after = await calm.measure((rounds) => rounds < size.rounds);
    const quiet = joined(before, after);
    for (const name of calm.people()) {
      const user = await calmQuarter.user(name);
      if (user === undefined || !isReady(user)) failures.push(`${name} of the calm tenant is not Ready in the end.`);
    }
    failures.push(...(await undone(fixture, hostileQuarter)));
    ROLES.forEach((role, index) => {
      if (!product.running(role) || product.process(role).pid !== pids[index]) failures.push(`The ${role} ended.`);
    });
    failures.push(...(await secretsIn(environment, product, [calmQuarter, hostileQuarter])));
    const answers: Record<string, number> = {};
    for (const [kind, count] of [keycloak, gateway].flatMap((each) => Object.entries(each.counts()))) {
      answers[kind] = (answers[kind] ?? 0) + count;
    }
    if (size.only === undefined && Object.keys(answers).length < leastKinds(size)) {
      failures.push(`The hostile upstreams were hardly asked: ${JSON.stringify(answers)}.`);
    }
    const memory = ROLES.map((role) => ({ role, ...memoryOf(product, role) }));
    return { ...size, quiet, phases, memory, answers, failures };
  } finally {
    await fixture.close();
    await kubernetes.close();
    await Promise.all([keycloak.close(), gateway.close()]);
  }
}

/** The breakers keep the product away from an upstream that answers so: few calls are a virtue, none would prove nothing. */
const leastKinds = ({ phaseMs }: Pick<Size, "phaseMs">): number => Math.min(10, Math.ceil(phaseMs / 3_000));

/** The product's kubeconfig, with the door in the API server's sandbox. */
function throughDoor({ env, kubeconfig, logs }: Environment, port: number): string {
  const url = new URL(env.KUBE_API_URL);
  url.port = String(port);
  const file = join(logs, "kubeconfig");
  writeFileSync(file, kubeconfig.replaceAll(env.KUBE_API_URL, url.href.replace(/\/$/, "")), { mode: 0o600 });
  return file;
}

/** What onboarding allows is what an attacker would be held to; here more are wanted. */
async function liftQuota({ api }: Environment, { namespace }: Quarter): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/resourcequotas`;
  const { body } = await api.send("GET", path);
  for (const { metadata } of z.object({ items: z.array(named) }).parse(body).items) {
    await api.send("DELETE", `${path}/${metadata.name}`);
  }
}

/** Nothing of one tenant stands on what the other one can read: objects, Events, the Tenant. */
async function shown(
  { api }: Environment,
  quarter: Quarter,
  texts: readonly string[],
  whose: string,
): Promise<string[]> {
  const paths = [
    collectionPath("TenantUser", quarter.namespace),
    `/api/v1/namespaces/${quarter.namespace}/events`,
    `/api/v1/namespaces/${quarter.namespace}/secrets`,
    objectPath("Tenant", { name: quarter.id }),
  ];
  const seen = await Promise.all(
    paths.map(async (path) => [path, JSON.stringify((await api.send("GET", path)).body)] as const),
  );
  return seen.flatMap(([path, text]) =>
    texts.filter((each) => text.includes(each)).map((each) => `${path}, which ${whose} can read, names ${each}.`),
  );
}

/** Everybody of the hostile tenant is deleted, and that comes to an end. */
async function undone({ db }: Fixture, quarter: Quarter): Promise<string[]> {
  let left = -1;
  for (const until = Date.now() + SETTLED_MS; Date.now() < until; await sleep(500)) {
    left = (await quarter.users()).length;
    if (left === 0) break;
  }
  if (left > 0)
    return [`${left} people of the hostile tenant are still there ${SETTLED_MS / 1000} s after they were deleted.`];
  const { rowCount } = await db.query("select 1 from waiting where namespace = $1", [quarter.namespace]);
  return rowCount === 0 ? [] : [`${rowCount} of the hostile tenant still wait though they are gone.`];
}

/** No key that stands in a Secret stands in a log. */
async function secretsIn({ api }: Environment, product: Product, quarters: readonly Quarter[]): Promise<string[]> {
  const list = z.object({ items: z.array(z.object({ data: z.record(z.string(), z.string()).optional() })) });
  const keys = new Set<string>();
  for (const { namespace } of quarters) {
    const { items } = list.parse((await api.send("GET", `/api/v1/namespaces/${namespace}/secrets`)).body);
    for (const { data } of items) {
      const key = Buffer.from(data?.["api-key"] ?? "", "base64").toString();
      if (key !== "") keys.add(key);
    }
  }
  return ROLES.flatMap((role) => {
    const text = readFileSync(product.process(role).log, "utf8");
    return [...keys].some((key) => text.includes(key)) ? [`The log of the ${role} holds a key.`] : [];
  });
}

function memoryOf(product: Product, role: (typeof ROLES)[number]): { readonly peak: number; readonly limit: number } {
  const file = `/proc/${product.process(role).pid}/status`;
  const status = existsSync(file) ? readFileSync(file, "utf8") : "";
  const kib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
  return { peak: kib * 1024, limit: limitOf(role) };
}

/** What its container may have, in bytes. */
function limitOf(role: string): number {
  const file = join(projectRoot, "manifests", "deploy", "deployment.yaml");
  const container = z.object({
    name: z.string(),
    resources: z.object({ limits: z.object({ memory: z.string().regex(/^\d+Mi$/) }) }),
  });
  const deployment = z.object({
    spec: z.object({ template: z.object({ spec: z.object({ containers: z.array(container) }) }) }),
  });
  const { containers } = deployment.parse(parse(readFileSync(file, "utf8"))).spec.template.spec;
  return (
    Number.parseInt(containers.find(({ name }) => name === role)?.resources.limits.memory ?? "0", 10) * 1024 * 1024
  );
}
