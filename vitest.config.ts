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
          // A small machine under load is slow, and slow is not wrong.
          expect: { poll: { timeout: 15_000 } },
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "stack",
          include: ON_THE_STACK,
          globalSetup: ["test/support/postgresSetup.ts"],
          // One after the other: they share the stack, and a machine that is small.
          fileParallelism: false,
          expect: { poll: { timeout: 30_000 } },
          testTimeout: 120_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});
