import { cpSync, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { keycloakCommand, linkHome } from "../keycloak-home.ts";
import { httpOk } from "../probe.ts";
import type { Context, Part } from "./part.ts";

const home = ({ dir }: Context): string => join(dir, "data", "keycloak");

export const keycloak: Part = {
  name: "keycloak",
  title: "Keycloak",
  needs: [],
  prepare: (context) => {
    linkHome(context.obtained.keycloak.home, home(context));
    const database = join(home(context), "data", "h2");
    if (!existsSync(database)) {
      rmSync(`${database}.draft`, { recursive: true, force: true });
      cpSync(context.obtained.keycloak.template, `${database}.draft`, { recursive: true });
      renameSync(`${database}.draft`, database);
    }
    return Promise.resolve();
  },
  command: (context) =>
    keycloakCommand({
      java: context.obtained.keycloak.java,
      home: home(context),
      port: context.ports.keycloak,
      adminPassword: context.secrets.keycloak,
    }),
  ready: ({ env }) => httpOk(`${env.KEYCLOAK_URL}/realms/master`),
  settle: setAdminPassword,
};

/** The copied database knows the administrator under the template's password: give this stack its own. */
async function setAdminPassword({ env, obtained }: Context): Promise<void> {
  if ((await logIn(env.KEYCLOAK_URL, env.KEYCLOAK_ADMIN_PASSWORD)) !== undefined) return;
  const token = await logIn(env.KEYCLOAK_URL, obtained.keycloak.templatePassword);
  if (token === undefined)
    throw new Error("Keycloak takes neither the password of this stack nor that of its template");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const users = `${env.KEYCLOAK_URL}/admin/realms/master/users`;
  const [admin] = (await (await fetch(`${users}?username=admin&exact=true`, { headers })).json()) as { id: string }[];
  const body = JSON.stringify({ type: "password", value: env.KEYCLOAK_ADMIN_PASSWORD, temporary: false });
  const answer = await fetch(`${users}/${admin?.id}/reset-password`, { method: "PUT", headers, body });
  if (!answer.ok) throw new Error(`Keycloak answered ${answer.status} to the new password of its administrator`);
}

async function logIn(url: string, password: string): Promise<string | undefined> {
  const body = new URLSearchParams({ grant_type: "password", client_id: "admin-cli", username: "admin", password });
  const answer = await fetch(`${url}/realms/master/protocol/openid-connect/token`, { method: "POST", body });
  const { access_token: token } = (await answer.json()) as { access_token?: string };
  return token;
}
