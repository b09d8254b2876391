import { defineConfig } from "vitest/config";

/** Contract suites whose upstream is a part of the local stack. */
const ON_THE_STACK = ["test/contract/keycloak.test.ts", "test/e2e/**/*.test.ts"];

/** What only repeats, or needs the machine for itself. */
const NIGHTLY = ["test/nightly/**/*.test.ts"];

/** As many files run side by side as there are stacks: none shares its stack with another. */
const stacks = process.env["STACK_NAMES"]?.split(",") ?? [];
const onTheStack = {
  globalSetup: ["test/support/postgresSetup.ts"],
  setupFiles: ["test/support/ownStack.ts"],
  fileParallelism: stacks.length > 1,
  maxWorkers: Math.max(1, stacks.length),
  expect: { poll: { timeout: 30_000 } },
  testTimeout: 120_000,
  hookTimeout: 240_000,
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          // More than there are cores: most of their time they wait, for a process or for a pause to end.
          maxWorkers: 6,
          include: ["test/{unit,contract}/**/*.test.ts"],
          exclude: ON_THE_STACK,
          globalSetup: ["test/support/postgresSetup.ts"],
          // A small machine under load is slow, and slow is not wrong.
          expect: { poll: { timeout: 15_000 } },
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      { test: { name: "stack", include: ON_THE_STACK, ...onTheStack } },
      { test: { name: "pods", include: ["test/pods/**/*.test.ts"], ...onTheStack } },
      { test: { name: "nightly", include: NIGHTLY, ...onTheStack } },
    ],
  },
});
