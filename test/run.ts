/**
 * `npm test`: check, unit and contract tests, then the stack, the tests on it, those in Pods where they can run, and the short
 * proofs; ends with `N passed, N failed`. `npm test -- unit`, `stack`, `pods`, `hostile`, `crash` or `nightly` runs one part.
 * STACK_NAME keeps stacks of that name up afterwards.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import * as z from "zod";
import { loadProductImage, missingForImage } from "../stack/cluster/image.ts";
import { installProduct } from "../stack/cluster/install.ts";
import { obtain, readStackEnv, startStack, stopStack } from "../stack/index.ts";
import { missingForNode } from "../stack/obtain/nodePackages.ts";

interface Tally {
  passed: number;
  failed: number;
  /** What failed, one line each: said once more at the end, where a long run's reader looks. */
  broken: string[];
}

const CHECKS: readonly (readonly [string, readonly string[]])[] = [
  ["format", ["prettier", "--check", "--log-level=warn", "--cache", "--cache-strategy=content", "."]],
  ["lint", ["oxlint", "--quiet"]],
  ["types", ["tsc", "--noEmit"]],
  ["generated files", ["node", "src/api/generate.ts", "--check"]],
  ["charts", ["node", "test/charts.ts"]],
];

const report = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numPendingTests: z.int(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string(),
      assertionResults: z.array(
        z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()).nullish() }),
      ),
    }),
  ),
});

const tallied = z.object({ passed: z.int(), failed: z.int(), broken: z.array(z.string()) });

const failure = (what: string): Tally => ({ passed: 0, failed: 1, broken: [what] });

const stackName = process.env["STACK_NAME"] ?? `test-${process.pid}`;
const keep = process.env["STACK_NAME"] !== undefined;
/** Test files run side by side, each on a stack of its own. */
const LANES = [stackName, `${stackName}-beside`];
const stopping = new AbortController();
process.once("SIGINT", () => stopping.abort());
process.once("SIGTERM", () => stopping.abort());

function run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const [program = "", ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } });
    const stop = (): void => void child.kill("SIGTERM");
    stopping.signal.addEventListener("abort", stop, { once: true });
    child.once("error", (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(1);
    });
    child.once("exit", (code) => {
      stopping.signal.removeEventListener("abort", stop);
      resolve(code ?? 1);
    });
  });
}

/** All at the same time: none of them keeps both cores busy. */
async function check(): Promise<Tally> {
  const tally: Tally = { passed: 0, failed: 0, broken: [] };
  const codes = await Promise.all(CHECKS.map(async ([, command]) => (stopping.signal.aborted ? 1 : run(command))));
  for (const [at, [name]] of CHECKS.entries()) {
    const code = codes[at];
    console.log(`${code === 0 ? "ok    " : "FAILED"} ${name}`);
    tally[code === 0 ? "passed" : "failed"] += 1;
    if (code !== 0) tally.broken.push(`check: ${name}`);
  }
  return tally;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").slice(0, 300);

/** A file that could not be loaded counts as one failure: it has no tests to count. */
async function vitest(project: string, stacks: readonly string[] = []): Promise<Tally> {
  if (stopping.signal.aborted) return failure(`the tests of "${project}": stopped before`);
  const folder = await mkdtemp(join(tmpdir(), "unified-rbac-report-"));
  const file = join(folder, "report.json");
  try {
    const command = ["vitest", "run", "--project", project, "--reporter=default", "--reporter=json"];
    const code = await run([...command, `--outputFile.json=${file}`], { STACK_NAMES: stacks.join() });
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = report.parse(
      JSON.parse(await readFile(file, "utf8")),
    );
    const unloaded = testResults.filter((result) => result.status === "failed" && result.assertionResults.length === 0);
    // A skipped test proves nothing: it counts as failed.
    const failed = numFailedTests + numPendingTests + unloaded.length;
    const broken = [
      ...testResults.flatMap(({ name, assertionResults }) =>
        assertionResults
          .filter(({ status }) => status !== "passed")
          .map(({ fullName, status, failureMessages }) =>
            [`${relative(".", name)}: ${fullName}`, firstLine(failureMessages?.[0] ?? status)].join(": "),
          ),
      ),
      ...unloaded.map(({ name, message }) => `${relative(".", name)}: ${firstLine(message)}`),
    ];
    if (code === 0 || failed > 0) return { passed: numPassedTests, failed, broken };
    return {
      passed: numPassedTests,
      failed: 1,
      broken: [`vitest ended with ${code}, though no test of "${project}" failed`],
    };
  } catch (error) {
    return failure(`the tests of "${project}" gave no report: ${reasonOf(error)}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Proof = "crash" | "hostile";

/** One after the other, each on a fresh stack: side by side they slow each other until upstreams answer too late. */
const PROOFS: readonly Proof[] = ["hostile", "crash"];

function merged(tallies: readonly Tally[]): Tally {
  const sum = (of: "passed" | "failed"): number => tallies.reduce((all, tally) => all + tally[of], 0);
  return { passed: sum("passed"), failed: sum("failed"), broken: tallies.flatMap(({ broken }) => broken) };
}

/** A proof with a program of its own, in its short form. Each run has a seed of its own, which it prints. */
async function proof(name: Proof, stack: string): Promise<Tally> {
  if (stopping.signal.aborted) return failure(`the ${name} proof: stopped before`);
  const folder = await mkdtemp(join(tmpdir(), `unified-rbac-${name}-`));
  const file = join(folder, "tally.json");
  try {
    const command = ["node", `test/${name}/main.ts`, "--short", "--no-doc", `--tally=${file}`];
    await run(command, { STACK_NAME: stack });
    return tallied.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return failure(`the ${name} proof came to no end`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs the part while stacks of these names are up; they stay up when STACK_NAME asks for it. */
async function withStacks(names: readonly string[], part: () => Promise<Tally>, node = false): Promise<Tally> {
  if (stopping.signal.aborted) return failure(`the stack "${names.join(", ")}": stopped before`);
  try {
    for (const name of names) await startStack({ name, node });
    return await part();
  } catch (error) {
    return failure(reasonOf(error));
  } finally {
    if (!keep) await Promise.all(names.map((name) => stopStack(name)));
  }
}

/** The product as an image in real Pods. */
function inPods(): Promise<Tally> {
  const name = `${stackName}-pods`;
  const part = async (): Promise<Tally> => {
    const env = readStackEnv(name);
    await loadProductImage(env.STACK_DIR, (text) => console.log(`image: ${text}`));
    await installProduct(env);
    return vitest("pods", [name]);
  };
  return withStacks([name], part, true);
}

/** What was built is what runs on the stack. */
async function onTheStack(parts: readonly (() => Promise<Tally>)[]): Promise<Tally[]> {
  if ((await run(["npm", "run", "--silent", "build"])) !== 0) return [failure("the build")];
  const done: Tally[] = [];
  for (const part of parts) done.push(await part());
  return done;
}

const PARTS = ["check", "unit", "stack", "pods", "hostile", "crash"] as const;
/** What only repeats, or takes long: not in the gate. */
const NIGHTLY = ["nightly"] as const;
const wanted = process.argv[2];
/** Pods need root and packages of Debian: without them the gate goes on, and says so. */
const noPods = [...missingForNode(), ...missingForImage()];
const chosen = [
  ...PARTS.filter((part) => (wanted === undefined ? part !== "pods" || noPods.length === 0 : part === wanted)),
  ...NIGHTLY.filter((part) => part === wanted),
];
if (chosen.length === 0) {
  console.error(`npm test -- ${wanted}: there are ${[...PARTS, ...NIGHTLY].join(", ")}`);
  process.exit(2);
}
if (wanted === undefined && noPods.length > 0) console.log(`The tests in Pods do not run. ${noPods.join(" ")}`);
const alone = [stackName];
const chosenProofs = PROOFS.filter((name) => chosen.includes(name));
const onStack = [
  ...(chosen.includes("stack") ? [() => withStacks(LANES, () => vitest("stack", LANES))] : []),
  ...(chosen.includes("pods") ? [inPods] : []),
  ...chosenProofs.map((name) => () => withStacks(alone, () => proof(name, stackName))),
  ...(chosen.includes("nightly") ? [() => withStacks(alone, () => vitest("nightly", alone))] : []),
];
const tallies: Tally[] = [];
if (chosen.includes("check")) tallies.push(await check());
// The parts are fetched and built before anything is timed; a second time this is nothing.
const missing =
  onStack.length === 0
    ? undefined
    : await obtain(undefined, { node: chosen.includes("pods") }).then(() => undefined, reasonOf);
if (chosen.includes("unit")) tallies.push(await vitest("unit"));
if (missing !== undefined) tallies.push(failure(missing));
else if (onStack.length > 0) tallies.push(...(await onTheStack(onStack)));
const { passed, failed, broken } = merged(tallies);
for (const what of broken) console.log(`FAILED ${what}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
