import { mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import type { Command } from "./process.ts";

/** A home that shares the installed program and has a `data` folder of its own: several stacks, one installation. */
export function linkHome(installed: string, home: string): void {
  mkdirSync(join(home, "data"), { recursive: true });
  for (const entry of readdirSync(installed)) {
    if (entry === "data") continue;
    // `recursive`, for rmSync takes a link to a folder for a folder; it removes the link alone.
    rmSync(join(home, entry), { force: true, recursive: true });
    symlinkSync(join(installed, entry), join(home, entry));
  }
}

export interface KeycloakRun {
  readonly java: string;
  readonly home: string;
  readonly port: number;
  readonly adminPassword: string;
}

/**
 * What bin/kc.sh would run, without the shell in between: a signal to our
 * process reaches Keycloak itself. The first compiler tier and the serial collector start
 * a third faster on few cores than the server defaults.
 */
export function keycloakCommand({ java, home, port, adminPassword }: KeycloakRun): Command {
  const opens = ["java.util", "java.util.concurrent", "java.security", "java.lang"];
  return {
    file: java,
    args: [
      "-Xms64m",
      "-Xmx512m",
      "-XX:MetaspaceSize=96M",
      "-XX:MaxMetaspaceSize=256m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-XX:+ExitOnOutOfMemoryError",
      "-Dfile.encoding=UTF-8",
      "-Duser.language=en",
      "-Duser.country=US",
      "-Djava.security.egd=file:/dev/urandom",
      ...opens.map((module) => `--add-opens=java.base/${module}=ALL-UNNAMED`),
      "--enable-native-access=ALL-UNNAMED",
      "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
      "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
      "-Dpicocli.disable.closures=true",
      `-Dkc.home.dir=${home}`,
      `-Djboss.server.config.dir=${join(home, "conf")}`,
      "-cp",
      join(home, "lib", "quarkus-run.jar"),
      "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
      "start",
      "--optimized",
      "--http-enabled=true",
      "--http-host=127.0.0.1",
      `--http-port=${port}`,
      "--hostname-strict=false",
    ],
    env: { KC_BOOTSTRAP_ADMIN_USERNAME: "admin", KC_BOOTSTRAP_ADMIN_PASSWORD: adminPassword },
    cwd: home,
  };
}
