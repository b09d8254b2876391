import { chownSync, existsSync, mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

import { writeAtomically } from "../files.ts";
import { httpOk } from "../probe.ts";
import { run, type Command } from "../process.ts";
import { program, readableCopy, type Context, type Part } from "./part.ts";

const home = ({ openDir }: Context): string => join(openDir, "gitea");
/** Where the administrator's token is kept for the env file. */
export const giteaTokenFile = (dir: string): string => join(dir, "data", "gitea-token");

const configFile = (context: Context): string => join(home(context), "app.ini");

export const gitea: Part = {
  name: "gitea",
  title: "Gitea",
  needs: [],
  prepare: (context) => {
    mkdirSync(home(context), { recursive: true, mode: 0o700 });
    writeAtomically(configFile(context), configuration(context), 0o600);
    for (const path of [home(context), configFile(context)]) {
      if (context.user) chownSync(path, context.user.uid, context.user.gid);
    }
    return Promise.resolve();
  },
  command: (context) => command(context, ["web"]),
  ready: ({ env }) => httpOk(`${env.GITEA_URL}/api/healthz`),
  settle: createAdmin,
};

function command(context: Context, args: readonly string[]): Command {
  return {
    file: readableCopy(context, program(context, "gitea"), "gitea-program"),
    args: [...args, "--config", configFile(context)],
    cwd: home(context),
    env: { HOME: home(context), USER: context.user?.name, GITEA_WORK_DIR: home(context), TMPDIR: home(context) },
    user: context.user,
  };
}

function configuration(context: Context): string {
  const { ports, secrets, user, env } = context;
  return `
APP_NAME = Gitea of the local stack
RUN_MODE = prod
RUN_USER = ${user?.name ?? userInfo().username}
WORK_PATH = ${home(context)}
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = ${ports.gitea}
DOMAIN = 127.0.0.1
ROOT_URL = ${env.GITEA_URL}/
STATIC_ROOT_PATH = ${readableCopy(context, context.obtained.giteaStatic, "gitea-static")}
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = ${join(home(context), "gitea.db")}
SQLITE_JOURNAL_MODE = WAL
SQLITE_TIMEOUT = 20000
[security]
INSTALL_LOCK = true
SECRET_KEY = ${secrets.giteaInternal}
INTERNAL_TOKEN = ${secrets.giteaInternal}
[oauth2]
JWT_SECRET = ${secrets.giteaJwt}
[service]
DISABLE_REGISTRATION = true
[repository]
DEFAULT_BRANCH = main
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
[mailer]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[webhook]
ALLOWED_HOST_LIST = loopback
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
`.trimStart();
}

async function createAdmin(context: Context): Promise<void> {
  const { env } = context;
  if (existsSync(giteaTokenFile(context.dir)) && (await call(context, "GET", "/user")).ok) return;
  const account = ["--username", env.GITEA_ADMIN_USER, "--password", env.GITEA_ADMIN_PASSWORD];
  const rest = ["--email", "admin@stack.example", "--admin", "--must-change-password=false"];
  // Cut between the two steps, a run before us may have made the user and not the token.
  if (!(await call(context, "GET", "/user")).ok) {
    await run(command(context, ["admin", "user", "create", ...account, ...rest]));
  }
  const tokens = `/users/${env.GITEA_ADMIN_USER}/tokens`;
  const name = `stack-${Date.now()}`;
  const answer = await call(context, "POST", tokens, { name, scopes: ["all"] });
  if (!answer.ok) throw new Error(`Gitea answered ${answer.status} when asked for a token`);
  const { sha1 } = (await answer.json()) as { sha1: string };
  writeAtomically(giteaTokenFile(context.dir), sha1, 0o600);
}

function call({ env }: Context, method: string, path: string, body?: object): Promise<Response> {
  const basic = Buffer.from(`${env.GITEA_ADMIN_USER}:${env.GITEA_ADMIN_PASSWORD}`).toString("base64");
  return fetch(`${env.GITEA_URL}/api/v1${path}`, {
    method,
    headers: { authorization: `Basic ${basic}`, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
  });
}
