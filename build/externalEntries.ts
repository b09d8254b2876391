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
