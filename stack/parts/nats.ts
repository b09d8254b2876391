import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import * as z from "zod";

import { writeAtomically } from "../files.ts";
import { projectRoot } from "../paths.ts";
import { httpOk } from "../probe.ts";
import { dataDir, program, type Context, type Part } from "./part.ts";

/** As whom the product logs in, with the rights that the platform guide gives it and no others. */
export const NATS_USER = "unified-rbac";

export const nats: Part = {
  name: "nats",
  title: "NATS",
  needs: [],
  prepare: async (context) => writeAtomically(settingsFile(context), settings(context), 0o600),
  command: (context) => ({
    file: program(context, "nats-server"),
    args: [
      "--jetstream",
      "--addr=127.0.0.1",
      `--port=${context.ports.nats}`,
      `--http_port=${context.ports.natsMonitor}`,
      `--store_dir=${dataDir(context, "nats")}`,
      `--config=${settingsFile(context)}`,
    ],
  }),
  ready: ({ env }) => httpOk(`${env.NATS_MONITOR_URL}/healthz`),
};

const settingsFile = (context: Context): string => join(dataDir(context, "nats"), "nats.conf");

/** Tests and people look at everything; who gives no name is one of them, for it is a server of this machine. */
function settings({ secrets }: Context): string {
  const users = [
    { user: NATS_USER, password: secrets.postgres, permissions: natsRights() },
    { user: "stack", password: secrets.postgres },
  ];
  return `authorization { users: ${JSON.stringify(users)} }\nno_auth_user: stack\n`;
}

/** The permissions that docs/platform-guide.md prints: there is one place for them. */
export function natsRights(): object {
  const guide = readFileSync(join(projectRoot, "docs", "platform-guide.md"), "utf8");
  const block = /```yaml\n(permissions:[\s\S]+?)```/.exec(guide)?.[1] ?? "";
  return z.object({ permissions: z.record(z.string(), z.array(z.string())) }).parse(parse(block)).permissions;
}
