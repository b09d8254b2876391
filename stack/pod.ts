/**
 * The main job in real Pods: the image is built and loaded into a node on this machine, the shipped overlay is applied, a tenant
 * is onboarded, and people come and go by commits. Then everything is taken down, unless `KEEP` says otherwise.
 *
 * `DEMO_USERS` commits as many people at once. `STACK_NAME` uses another stack than "pod".
 */
import { relative } from "node:path";

import { timed } from "./demo/acts.ts";
import { howMany } from "./demo/people.ts";
import { makeScreen } from "./demo/screen.ts";
import { showInCluster } from "./cluster/show.ts";
import { loadProductImage } from "./cluster/image.ts";
import { stopNow } from "./interrupt.ts";
import { stackDir } from "./paths.ts";
import { startStack, stopStack } from "./stack.ts";

const name = process.env["STACK_NAME"] ?? "pod";
const keep = (process.env["KEEP"] ?? "") !== "";
const screen = makeScreen();

async function main(signal: AbortSignal): Promise<void> {
  const people = howMany(process.env["DEMO_USERS"]);

  screen.heading("1. The stack: a control plane, a node, Flux, Gitea, Keycloak, Postgres, NATS and a gateway");
  const { value: env, took: stackTook } = await timed(() => startStack({ name, node: true }));
  screen.line(`  up after ${stackTook}`);

  screen.heading("2. The image: built from the Dockerfile, loaded into the node");
  screen.waiting("building");
  const { took: imageTook } = await timed(() => loadProductImage(env.STACK_DIR, (text) => screen.waiting(text)));
  screen.line(`  there after ${imageTook}`);

  await showInCluster({ env, screen, people, first: 3 }, signal);
}

const logs = relative(process.cwd(), `${stackDir(name)}/logs`);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    screen.clear();
    interrupted.abort();
    stopNow(name);
  });
}
try {
  await main(interrupted.signal);
} catch (error) {
  screen.clear();
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  console.error(`Logs are in ${logs}, those of the containers in ${logs}/pods.`);
  process.exitCode = 1;
}
if (keep) {
  screen.line(
    `\nThe stack stays up: KUBECONFIG=.stack/${name}/kubeconfig. To stop: make stack-down STACK_NAME=${name}`,
  );
} else {
  screen.waiting("taking everything down");
  await stopStack(name);
  screen.line(`\nEverything is down again. Logs are in ${logs}.`);
}
