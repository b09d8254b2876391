/** vitest's setup file of what runs on a stack: of files side by side, each has the stack of its worker. */
const stacks = (process.env["STACK_NAMES"] ?? "").split(",").filter((name) => name !== "");
if (stacks.length > 0) {
  const worker = Number(process.env["VITEST_POOL_ID"] ?? "1");
  process.env["STACK_NAME"] = stacks[(worker - 1) % stacks.length];
}
