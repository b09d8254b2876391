#!/usr/bin/env node
/** The kubectl plugin: `kubectl tenantuser`. Like main.ts, a file that a Node that is too old can read once it is built. */
import { tooOldNode } from "./lib/nodeVersion.ts";

function start(): void {
  void import("./entries/plugin.ts")
    .then((entry) => entry.main(process.argv.slice(2), process))
    .then((code) => {
      process.exitCode = code;
    });
}

const tooOld = tooOldNode("kubectl tenantuser", process.versions.node);
if (tooOld === undefined) start();
else {
  process.stderr.write(tooOld + "\n");
  process.exitCode = 2;
}
