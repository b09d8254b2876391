/**
 * The main job in a kind cluster, for machines with Docker and the internet: builds and loads the image, starts throwaway
 * upstreams from public images, and shows the same as `make pod`. Then it deletes the cluster, unless `KEEP` says otherwise.
 *
 * `DEMO_USERS` commits as many people at once. `KIND_IMAGE` is another node image than kind's own choice.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { showInCluster } from "../cluster/show.ts";
import { IMAGE } from "../cluster/install.ts";
import { timed } from "../demo/acts.ts";
import { howMany } from "../demo/people.ts";
import { makeScreen } from "../demo/screen.ts";
import { writeAtomically } from "../files.ts";
import { ask } from "../obtain/prerequisites.ts";
import { projectRoot, stackDir } from "../paths.ts";
import { run } from "../process.ts";
import { GITEA_INSIDE, kindEnv, newPasswords, startUpstreams } from "./upstreams.ts";

const CLUSTER = "unified-rbac";
const keep = (process.env["KEEP"] ?? "") !== "";
const screen = makeScreen();

const kind = (...args: readonly string[]): Promise<string> => run({ file: "kind", args });

/** One sentence for each program that is missing. */
function missing(): string[] {
  const needed = { docker: ["version"], kind: ["version"], kubectl: ["version", "--client"] } as const;
  return Object.entries(needed).flatMap(([program, question]) =>
    ask(program, question) === undefined
      ? [`make kind needs ${program}, and it does not answer: install it and, if it is a service, start it.`]
      : [],
  );
}

async function createCluster(dir: string): Promise<void> {
  const config = readFileSync(join(import.meta.dirname, "cluster.yaml"), "utf8").replace("PROJECT", projectRoot);
  const file = join(dir, "cluster.yaml");
  writeAtomically(file, config);
  const image = process.env["KIND_IMAGE"];
  const options = ["--name", CLUSTER, "--config", file, "--kubeconfig", join(dir, "kubeconfig"), "--wait", "120s"];
  await kind("create", "cluster", ...options, ...(image === undefined ? [] : ["--image", image]));
}

async function main(dir: string, signal: AbortSignal): Promise<void> {
  const people = howMany(process.env["DEMO_USERS"]);
  const lacking = missing();
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  mkdirSync(join(dir, "data"), { recursive: true });
  const passwords = newPasswords();

  screen.heading("1. The cluster");
  screen.waiting("kind create cluster");
  screen.line(`  up after ${(await timed(() => createCluster(dir))).took}`);

  screen.heading("2. The image: built from the Dockerfile, loaded into the cluster");
  screen.waiting("building");
  const { took } = await timed(async () => {
    await run({ file: "docker", args: ["build", "--tag", IMAGE, projectRoot] });
    await kind("load", "docker-image", IMAGE, "--name", CLUSTER);
  });
  screen.line(`  there after ${took}`);

  screen.heading("3. The upstreams: Flux, Gitea, Keycloak, Postgres, NATS and a gateway");
  screen.waiting("pulling and starting");
  const { value: env, took: upAfter } = await timed(() => startUpstreams(kindEnv(dir, passwords), passwords));
  screen.line(`  Ready after ${upAfter}`);

  const repository = new URL("/acme/people.git", GITEA_INSIDE).href;
  await showInCluster({ env, screen, people, first: 4, values: { GIT_URL: repository } }, signal);
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
const dir = stackDir("kind");
try {
  await main(dir, interrupted.signal);
} catch (error) {
  screen.clear();
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
if (keep) {
  screen.line(
    `\nThe cluster stays up: KUBECONFIG=.stack/kind/kubeconfig. To delete: kind delete cluster --name ${CLUSTER}`,
  );
} else {
  await kind("delete", "cluster", "--name", CLUSTER).catch(() => undefined);
  rmSync(dir, { recursive: true, force: true });
}
