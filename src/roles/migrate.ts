import { RETRIES } from "../lib/backoff.ts";
import type { MigrateConfig } from "../lib/config.ts";
import type { Log } from "../lib/log.ts";
import { migrate, MigrationError } from "../store/migrate.ts";

/** Waits for a database that is not there yet: the Pod's init container is this. */
const TRIES = 60;

/** Brings the database to this program's schema. Resolves with the exit code. */
export async function runMigrate(config: MigrateConfig, log: Log): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const applied = await migrate({
        url: config.databaseURL.reveal(),
        applicationName: "unified-rbac migrate",
        roles: config.roles,
      });
      log.info("migrated", { applied });
      return 0;
    } catch (error) {
      if (error instanceof MigrationError || attempt === TRIES) {
        log.error("failed to migrate", { error });
        return 1;
      }
      if (attempt === 1) log.warn("failed to reach the database; retrying", { error });
      await new Promise((resolve) => setTimeout(resolve, RETRIES.migration.firstMs));
    }
  }
}
