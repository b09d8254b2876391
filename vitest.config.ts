import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/{unit,contract}/**/*.test.ts"],
    globalSetup: ["test/support/postgresSetup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
