import { parseConfig } from "../lib/config.ts";
import { runMigrate } from "../roles/migrate.ts";
import { roleEntry } from "./role.ts";

export const main = roleEntry("migrate", (env) => parseConfig("migrate", env), runMigrate);
