/**
 * The main job, shown as it happens: somebody's manifest is committed and becomes a working account; then it is removed
 * and everything goes. Starts what is missing and leaves it running.
 *
 * `DEMO_USERS` commits as many people at once. `STACK_NAME` uses another stack than "default".
 */
import { existsSync, rmSync, writeSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { makePool } from "../src/store/pool.ts";
import { followDown, followUp, type Push, spread } from "./demo/journey.ts";
import { observe, type Observer } from "./demo/observer.ts";
import { type DemoPerson, demoPeople, howMany, isDemoPath } from "./demo/people.ts";
import { callGateway, type Credentials, type Events, keycloakUser, listen, readCredentials } from "./demo/proof.ts";
import { makeScreen, seconds } from "./demo/screen.ts";
import { readStackEnv, startStack, type StackEnv } from "./index.ts";
import { connectKube, type Kube, kubectl } from "./kube.ts";
import { cloneRepository, type Clone, openClone } from "./git.ts";
import { onboardTenant, type OnboardedTenant } from "./onboard.ts";
import { startProduct } from "./product/index.ts";

const TENANT = "acme";
const stackName = process.env["STACK_NAME"] ?? "default";
const screen = makeScreen();

/** What the acts of the demo share. */
interface Scene {
  readonly env: StackEnv;
  readonly kube: Kube;
  readonly tenant: OnboardedTenant;
  readonly observer: Observer;
  readonly events: Events;
  readonly clone: Clone;
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; took: string; tookMs: number }> {
  const began = performance.now();
  const value = await work();
  const tookMs = performance.now() - began;
  return { value, took: seconds(tookMs), tookMs };
}

async function main(signal: AbortSignal): Promise<void> {
  const people = demoPeople(TENANT, howMany(process.env["DEMO_USERS"]));

  screen.heading("1. The stack: a control plane, Flux, Gitea, Keycloak, Postgres, NATS and a gateway");
  const { value: env, took: stackTook } = await timed(() => startStack({ name: stackName }));
  screen.line(`  up after ${stackTook}`);

  screen.heading("2. The product: webhook and reconciler, with the rights of manifests/ and no more");
  screen.waiting("starting");
  const { took: productTook } = await timed(() => startProduct(env));
  screen.line(`  installed, and ready after ${productTook}`);

  screen.heading(`3. Tenant ${TENANT}: realm, repository, credentials, namespace, Flux`);
  screen.waiting("onboarding");
  const { value: tenant, took: tenantTook } = await timed(async () => {
    // No time of grace: to see everything go at once.
    const made = await onboardTenant(env, {
      id: TENANT,
      values: { DELETION_GRACE: "0s" },
      patch: { allow: { emailDomains: [`${TENANT}.example`] } },
    });
    await made.ready();
    return made;
  });
  screen.line(`  onboarded, and its checks are green after ${tenantTook}`);

  const kube = await connectKube(env);
  const pool = makePool({ url: env.DATABASE_URL, max: 2, applicationName: "demo", onIdleError: () => {} });
  const looking = new AbortController();
  const events = await listen(env);
  const work = demoClone(env);
  try {
    const observer = await observe(
      { kube, pool, namespace: tenant.namespace },
      AbortSignal.any([signal, looking.signal]),
    );
    const clone = await cloneRepository(tenant.remote, work);
    const scene: Scene = { env, kube, tenant, observer, events, clone };
    await clearAway(scene);
    const credentials = await come(scene, people);
    await go(scene, people, credentials);
  } finally {
    looking.abort();
    kube.close();
    await Promise.allSettled([pool.end(), events.close()]);
    rmSync(work, { recursive: true, force: true });
  }
  await playOn(env, tenant);
}

/** The demo's own clone, new for each run: one that was cut off leaves nothing that could be in the way. */
function demoClone(env: StackEnv): string {
  const dir = join(env.STACK_DIR, "data", "demo");
  rmSync(dir, { recursive: true, force: true });
  return dir;
}

/** Commits, pushes, and tells Flux. */
async function push({ clone, tenant, kube }: Scene, names: readonly string[], message: string): Promise<Push> {
  const { value: commit, tookMs } = await timed(() => clone.push(message));
  if (commit === undefined) throw new Error("there was nothing to commit");
  const at = Date.now();
  await tenant.pushed(kube);
  return { commit, at, tookMs, names };
}

/** What an earlier run left behind when it was cut off. */
async function clearAway(scene: Scene): Promise<void> {
  const { clone, observer } = scene;
  const left = (await clone.files("users")).filter(isDemoPath);
  if (left.length > 0) {
    for (const path of left) clone.remove(path);
    await push(scene, [], "Remove what an earlier demo left behind");
  }
  const still = (): number =>
    [...observer.people.values()].filter(({ name, goneAt }) => goneAt === undefined && isDemoPath(`users/${name}.yaml`))
      .length;
  if (left.length > 0) screen.line(`  an earlier run was cut off: its ${left.length} people go first`);
  await observer.until(
    () => still() === 0,
    () => still() > 0 && screen.waiting(`waiting for ${still()} people of an earlier run to go`),
    120_000,
    () => `${still()} people of an earlier run are still there: see kubectl get tenantusers -A`,
  );
  screen.clear();
}

/** Commits everybody and shows how they come. Gives what the first one's programs would work with. */
async function come(scene: Scene, people: readonly DemoPerson[]): Promise<Credentials> {
  const { env, kube, tenant, observer, events, clone } = scene;
  const [first] = people;
  if (first === undefined) throw new Error("nobody to commit");
  screen.heading(
    people.length === 1
      ? `4. A commit: ${first.path}, pushed to ${tenant.repoURL}`
      : `4. A commit with ${people.length} people, pushed to ${tenant.repoURL}`,
  );
  for (const line of people.length === 1 ? first.manifest.trimEnd().split("\n") : []) screen.line(`    ${line}`);
  screen.line();
  for (const { path, manifest } of people) clone.write(path, manifest);
  const names = people.map(({ name }) => name);
  const ready = await followUp(observer, await push(scene, names, `Welcome ${names.length} people`), screen);
  const { min, median, max } = spread(ready);
  screen.line(
    ready.length === 1
      ? `\n  From push to Ready: ${seconds(median)}`
      : `\n  From push to Ready: min ${seconds(min)}, median ${seconds(median)}, max ${seconds(max)}`,
  );

  screen.heading("5. The proof");
  screen.command("kubectl get tenantusers -A", await kubectl(env, ["get", "tenantusers", "-A"]));
  screen.line(`\n  Keycloak has, in realm ${tenant.realm.realm}:`);
  for (const line of ((await keycloakUser(tenant, first.email)) ?? "nobody").split("\n")) screen.line(`    ${line}`);
  await showEvent(scene, "sme.user.created", first.email);
  const secretName = observer.people.get(first.name)?.status?.secretName ?? "";
  const credentials = await readCredentials(kube, tenant.namespace, secretName);
  if (credentials === undefined) throw new Error(`there is no Secret ${secretName} in ${tenant.namespace}`);
  screen.line(`\n  The gateway, called with the key from Secret ${tenant.namespace}/${secretName}:`);
  const answer = await callGateway(credentials);
  screen.line(`    GET ${credentials.baseURL}/v1/models: ${answer}`);
  const proven =
    answer.startsWith("200") &&
    events.find("sme.user.created", first.email) !== undefined &&
    (await keycloakUser(tenant, first.email)) !== undefined;
  if (!proven) throw new Error("The status says Ready, and not everything is there.");
  return credentials;
}

/** Removes everybody's file and shows how they go. */
async function go(scene: Scene, people: readonly DemoPerson[], credentials: Credentials): Promise<void> {
  const { env, kube, tenant, observer, clone } = scene;
  const [first] = people;
  if (first === undefined) return;
  screen.heading(people.length === 1 ? `6. The way back: git rm ${first.path}` : "6. The way back: git rm of all");
  screen.line();
  for (const { path } of people) clone.remove(path);
  const names = people.map(({ name }) => name);
  await followDown(observer, await push(scene, names, `Goodbye to ${names.length} people`), screen);

  screen.command(
    "kubectl get tenantusers -A",
    (await kubectl(env, ["get", "tenantusers", "-A"])) || "No resources found",
  );
  const user = await keycloakUser(tenant, first.email);
  const secret = await readCredentials(kube, tenant.namespace, credentials.secret);
  const answer = await callGateway(credentials);
  screen.line(`\n  Keycloak has: ${user ?? "nobody of that address"}`);
  screen.line(`  The Secret is ${secret === undefined ? "gone" : "STILL THERE"}`);
  screen.line(`  The gateway says to the old key: ${answer}`);
  await showEvent(scene, "sme.user.deleted", first.email);
  if (user !== undefined || secret !== undefined || answer.startsWith("200")) {
    throw new Error("The object is gone, and something of it is still there.");
  }
}

async function showEvent({ observer, events }: Scene, type: "sme.user.created" | "sme.user.deleted", email: string) {
  await observer.until(
    () => events.find(type, email) !== undefined,
    () => screen.waiting(`waiting for ${type}`),
    30_000,
    () => `NATS has brought no ${type} within 30 s`,
  );
  const event = events.find(type, email);
  screen.line(`\n  NATS has brought, for billing, notification and audit:`);
  screen.line(`    ${event?.type} ${event?.id} at ${event?.timestamp}`);
  screen.line(`    ${JSON.stringify(event?.data)}`);
}

/** As one types it from where the demo was started. */
const here = (path: string): string => relative(process.cwd(), path) || ".";

async function playOn(env: StackEnv, tenant: OnboardedTenant): Promise<void> {
  const dir = join(env.STACK_DIR, "data", "clones", tenant.id);
  // One that is there may hold somebody's work: only its login is renewed.
  await (existsSync(dir) ? openClone : cloneRepository)(tenant.remote, dir);
  const down = stackName === "default" ? "make stack-down" : `make stack-down STACK_NAME=${stackName}`;
  screen.heading("Everything stays up. To play on:");
  screen.line(`
  export KUBECONFIG=$PWD/${here(env.KUBECONFIG)} PATH=${dirname(env.KUBECTL)}:$PATH
  kubectl explain tenantuser.spec
  cd ${here(dir)} && git pull --quiet
  sed 's/^    //' > users/grace.yaml << END
    apiVersion: catalyst.openova.io/v1alpha1
    kind: TenantUser
    metadata: { name: grace }
    spec: { email: grace@${tenant.id}.example, displayName: Grace Hopper }
END
  git add --all && git commit --quiet -m "Welcome Grace" && git push --quiet
  kubectl get tenantusers -A --watch          # Flux looks every 10 s

  Passwords and addresses: ${here(env.STACK_DIR)}/env   Logs: ${here(env.STACK_DIR)}/logs   To stop: ${down}
`);
}

const interrupted = new AbortController();
process.once("SIGINT", () => {
  screen.clear();
  // Not through process.stdout: the stack's progress holds that back while it draws.
  writeSync(1, "\nInterrupted. What runs continues running: the next demo takes it up, and make stack-down ends it.\n");
  interrupted.abort();
  process.exit(130);
});
try {
  await main(interrupted.signal);
} catch (error) {
  screen.clear();
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  console.error(`Logs are in ${relative(process.cwd(), logsFolder())}; the next make demo continues from here.`);
  process.exitCode = 1;
}

function logsFolder(): string {
  try {
    return join(readStackEnv(stackName).STACK_DIR, "logs");
  } catch {
    return join(".stack", stackName, "logs");
  }
}
