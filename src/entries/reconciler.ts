import { parseConfig } from "../lib/config.ts";
import { runReconciler } from "../roles/reconciler.ts";
import { roleEntry } from "./role.ts";

export const main = roleEntry(
  "reconciler",
  (env) => parseConfig("reconciler", env),
  (config, log, lifecycle) => runReconciler(config, log, lifecycle),
);
