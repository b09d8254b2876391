/**
 * The main job, shown as it happens: somebody's manifest is committed and becomes a working account; then it is removed
 * and everything goes. Starts what is missing and leaves it running.
 *
 * `DEMO_USERS` commits as many people at once. `STACK_NAME` uses another stack than "default".
 */
import { existsSync, writeSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { playJourney, timed } from "./demo/acts.ts";
import { demoPeople, howMany } from "./demo/people.ts";
import { makeScreen } from "./demo/screen.ts";
import { readStackEnv, startStack, type StackEnv } from "./index.ts";
import { cloneRepository, openClone } from "./git.ts";
import { onboardTenant, type OnboardedTenant } from "./onboard.ts";
import { startProduct } from "./product/index.ts";

const TENANT = "acme";
const stackName = process.env["STACK_NAME"] ?? "default";
const screen = makeScreen();

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

  const folder = join(env.STACK_DIR, "data", "demo");
  await playJourney({ env, tenant, people, screen, folder, first: 4 }, signal);
  await playOn(env, tenant);
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
