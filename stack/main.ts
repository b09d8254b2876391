import { Command } from "commander";
import { relative } from "node:path";

import { envFile } from "./env.ts";
import { obtain } from "./obtain/index.ts";
import { stackDir } from "./paths.ts";
import { stackStatus, startStack, stopStack } from "./stack.ts";

interface Options {
  readonly name: string;
  readonly withNode: boolean;
}

const program = new Command("stack").description("The local real stack: every upstream of the product, on loopback.");

function command(name: string, description: string, action: (options: Options) => Promise<void> | void): void {
  program
    .command(name)
    .description(description)
    .option("--name <name>", "which stack; several can live side by side", "default")
    .option("--with-node", "with a node, which runs Pods: needs root", false)
    .action(action);
}

command("obtain", "fetch and build the parts, without starting anything", async ({ withNode }) => {
  await obtain(undefined, { node: withNode });
  console.log("Every part is there.");
});

command("up", "start the stack, or what of it has died", async ({ name, withNode }) => {
  await startStack({ name, node: withNode });
  const dir = relative(process.cwd(), stackDir(name));
  console.log(`The stack "${name}" is up. Its addresses and passwords: ${envFile(dir)}. Its logs: ${dir}/logs`);
});

command("down", "stop the stack and forget its data; the logs stay", async ({ name }) => {
  await stopStack(name);
  console.log(`The stack "${name}" is down.`);
});

command("status", "say which parts run", ({ name }) => {
  const found = stackStatus(name);
  for (const { part, state, pid } of found) console.log(`${part.padEnd(22)}${state}${pid ? ` (pid ${pid})` : ""}`);
  if (found.some(({ state }) => state !== "running")) process.exitCode = 1;
});

try {
  await program.parseAsync();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
