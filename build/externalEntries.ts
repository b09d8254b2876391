import type { Plugin } from "esbuild";

/** For the launchers: each program is a file of its own beside them, loaded when it is asked for. */
export const externalEntries: Plugin = {
  name: "external entries",
  setup(build) {
    build.onResolve({ filter: /^\.\/entries\/\w+\.ts$/ }, ({ path, kind }) =>
      kind === "dynamic-import"
        ? { path: path.replace("./entries/", "./").replace(/\.ts$/, ".js"), external: true }
        : undefined,
    );
  },
};

/** For the roles: OpenTelemetry is a file of its own too, read when tracing is on. */
export const externalTraces: Plugin = {
  name: "external traces",
  setup(build) {
    build.onResolve({ filter: /\/ops\/openTelemetry\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./openTelemetry.js", external: true } : undefined,
    );
  },
};
