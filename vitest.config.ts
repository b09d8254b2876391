import { defineConfig } from "vitest/config";

/** Contract suites whose neighbour is a part of the local stack. */
const ON_THE_STACK = ["test/contract/keycloak.test.ts", "test/e2e/**/*.test.ts"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/{unit,contract}/**/*.test.ts"],
          exclude: ON_THE_STACK,
          globalSetup: ["test/support/postgresSetup.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "stack",
          include: ON_THE_STACK,
          globalSetup: ["test/support/postgresSetup.ts"],
          // One after the other: they share the stack, and a machine that is small.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});
