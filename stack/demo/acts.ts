/** The acts of a demonstration that look the same wherever the product runs: people come by a commit, and go by one. */
import { rmSync } from "node:fs";

import { makePool } from "../../src/store/pool.ts";
import type { StackEnv } from "../env.ts";
import { cloneRepository, type Clone } from "../git.ts";
import { connectKube, type Kube, kubectl } from "../kube.ts";
import type { OnboardedTenant } from "../onboard.ts";
import { followDown, followUp, type Push, spread } from "./journey.ts";
import { observe, type Observer } from "./observer.ts";
import { type DemoPerson, isDemoPath } from "./people.ts";
import { callGateway, type Credentials, type Events, keycloakUser, listen, readCredentials } from "./proof.ts";
import { type Screen, seconds } from "./screen.ts";

/** What the acts of the demo share. */
interface Scene {
  readonly screen: Screen;
  readonly env: StackEnv;
  readonly kube: Kube;
  readonly tenant: OnboardedTenant;
  readonly observer: Observer;
  readonly events: Events;
  readonly clone: Clone;
}

/** What the work gave, and how long it took. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; took: string; tookMs: number }> {
  const began = performance.now();
  const value = await work();
  const tookMs = performance.now() - began;
  return { value, took: seconds(tookMs), tookMs };
}

export interface Play {
  readonly env: StackEnv;
  readonly tenant: OnboardedTenant;
  readonly people: readonly DemoPerson[];
  readonly screen: Screen;
  /** The demo's own clone: made new, and removed at the end. */
  readonly folder: string;
  /** Number of the first act in its heading. */
  readonly first: number;
}

/** Commits the people, shows how they become Ready, proves it from outside; then removes them and shows how they go. */
export async function playJourney(
  { env, tenant, people, screen, folder, first }: Play,
  signal: AbortSignal,
): Promise<void> {
  const kube = await connectKube(env);
  const pool = makePool({ url: env.DATABASE_URL, max: 2, applicationName: "demo", onIdleError: () => {} });
  const looking = new AbortController();
  const events = await listen(env);
  // One that a run before left, when it was cut off, is in nobody's way.
  rmSync(folder, { recursive: true, force: true });
  try {
    const observer = await observe(
      { kube, pool, namespace: tenant.namespace },
      AbortSignal.any([signal, looking.signal]),
    );
    const clone = await cloneRepository(tenant.remote, folder);
    const scene: Scene = { screen, env, kube, tenant, observer, events, clone };
    await clearAway(scene);
    const credentials = await come(scene, people, first);
    await go(scene, people, credentials, first + 2);
  } finally {
    looking.abort();
    kube.close();
    await Promise.allSettled([pool.end(), events.close()]);
    rmSync(folder, { recursive: true, force: true });
  }
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
  const { screen, clone, observer } = scene;
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
async function come(scene: Scene, people: readonly DemoPerson[], act: number): Promise<Credentials> {
  const { screen, env, kube, tenant, observer, events, clone } = scene;
  const [first] = people;
  if (first === undefined) throw new Error("nobody to commit");
  screen.heading(
    people.length === 1
      ? `${act}. A commit: ${first.path}, pushed to ${tenant.repoURL}`
      : `${act}. A commit with ${people.length} people, pushed to ${tenant.repoURL}`,
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

  screen.heading(`${act + 1}. The proof`);
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
async function go(scene: Scene, people: readonly DemoPerson[], credentials: Credentials, act: number): Promise<void> {
  const { screen, env, kube, tenant, observer, clone } = scene;
  const [first] = people;
  if (first === undefined) return;
  screen.heading(
    people.length === 1 ? `${act}. The way back: git rm ${first.path}` : `${act}. The way back: git rm of all`,
  );
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

async function showEvent(
  { screen, observer, events }: Scene,
  type: "sme.user.created" | "sme.user.deleted",
  email: string,
) {
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
