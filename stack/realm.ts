/** Sets up a tenant's Keycloak realm, whole, or with any piece of it left out to see what happens. */
import { randomBytes } from "node:crypto";
import KeycloakAdminClient, { NetworkError } from "@keycloak/keycloak-admin-client";

/** The Keycloak of a stack, and its first administrator. */
export interface KeycloakServer {
  readonly url: string;
  readonly admin: string;
  readonly password: string;
}

/** What our service account needs of client realm-management. */
export const SERVICE_ACCOUNT_ROLES = [
  "manage-users",
  "view-users",
  "query-users",
  "query-groups",
  "view-realm",
  "view-clients",
] as const;

export interface RealmOptions {
  readonly realm: string;
  /**
   * What the user profile does to attributes; default ADMIN_EDIT. `declared`: both marks declared, admin-edit only, all
   * else dropped; `declared-forgeable`: declared with edit for the user too; `protected`: ENABLED, marks admin-edit only.
   */
  readonly profile?: "ADMIN_EDIT" | "ENABLED" | "DISABLED" | "declared" | "declared-forgeable" | "protected";
  /** Full paths; groups above are made too. Default: `/sme-users`. */
  readonly groups?: readonly string[];
  readonly realmRoles?: readonly string[];
  /** Default: all of SERVICE_ACCOUNT_ROLES. */
  readonly serviceAccountRoles?: readonly string[];
  /** Default: `unified-rbac`. */
  readonly clientID?: string;
  /** Default false, as in a fresh realm. */
  readonly editUsernameAllowed?: boolean;
  /** Mail and "Forgot password", so that a new person can log in; default false, as in a fresh realm. */
  readonly loginByMail?: boolean;
}

export interface TenantRealm {
  readonly url: string;
  readonly realm: string;
  readonly clientID: string;
  readonly clientSecret: string;
  /** Id of the client's service-account user. */
  readonly serviceAccountID: string;
  /** Acts as the server's administrator in this realm. */
  readonly admin: KeycloakAdminClient;
  /** Ids of the groups asked for, by path. */
  readonly groups: ReadonlyMap<string, string>;
  setProfile(profile: NonNullable<RealmOptions["profile"]>): Promise<void>;
  remove(): Promise<void>;
}

/** Makes the realm, or brings an existing one to what the options say. Safe to repeat. */
export async function tenantRealm(server: KeycloakServer, options: RealmOptions): Promise<TenantRealm> {
  const { realm } = options;
  const clientID = options.clientID ?? "unified-rbac";
  const admin = administrator(server, realm);

  const settings = {
    realm,
    enabled: true,
    editUsernameAllowed: options.editUsernameAllowed ?? false,
    resetPasswordAllowed: options.loginByMail ?? false,
    smtpServer: options.loginByMail === true ? { host: "127.0.0.1", port: "25", from: "no-reply@example.org" } : {},
  };
  await admin.realms.create(settings).catch(unlessConflict);
  await admin.realms.update({ realm }, settings);
  const setProfile = (profile: NonNullable<RealmOptions["profile"]>): Promise<void> => writeProfile(admin, profile);
  await setProfile(options.profile ?? "ADMIN_EDIT");

  const groups = new Map<string, string>();
  for (const path of options.groups ?? ["/sme-users"]) groups.set(path, await ensureGroup(admin, path));
  for (const name of options.realmRoles ?? []) await admin.roles.create({ name }).catch(unlessConflict);

  const { clientSecret, serviceAccountID } = await ensureClient(
    admin,
    clientID,
    options.serviceAccountRoles ?? SERVICE_ACCOUNT_ROLES,
  );
  return {
    url: server.url,
    realm,
    clientID,
    clientSecret,
    serviceAccountID,
    admin,
    groups,
    setProfile,
    remove: () => admin.realms.del({ realm }),
  };
}

/** A client for the server's administrator that logs in again before its short token ends. */
export function administrator(server: KeycloakServer, realm: string): KeycloakAdminClient {
  const login = new KeycloakAdminClient({ baseUrl: server.url, realmName: "master" });
  let loggedInAt = 0;
  const client = new KeycloakAdminClient({ baseUrl: server.url, realmName: realm });
  client.registerTokenProvider({
    getAccessToken: async () => {
      if (Date.now() - loggedInAt > 20_000) {
        await login.auth({
          grantType: "password",
          clientId: "admin-cli",
          username: server.admin,
          password: server.password,
        });
        loggedInAt = Date.now();
      }
      return login.accessToken;
    },
  });
  return client;
}

/** Gives a group or a user of the realm roles of client realm-management: makes administrators, to see them refused. */
export async function grantRealmManagement(
  admin: KeycloakAdminClient,
  to: { group: string } | { user: string } | { realmRole: string },
  names: readonly string[],
): Promise<void> {
  const { id: clientUniqueId, roles } = await realmManagementRoles(admin, names);
  if ("group" in to) await admin.groups.addClientRoleMappings({ id: to.group, clientUniqueId, roles });
  else if ("user" in to) await admin.users.addClientRoleMappings({ id: to.user, clientUniqueId, roles });
  else {
    const role = await admin.roles.findOneByName({ name: to.realmRole });
    await admin.roles.createComposite({ roleId: role?.id ?? "" }, roles);
  }
}

async function ensureGroup(admin: KeycloakAdminClient, path: string): Promise<string> {
  const names = path.split("/").filter((name) => name !== "");
  let parent: string | undefined;
  for (const name of names) {
    const siblings: { id?: string; name?: string }[] =
      parent === undefined
        ? await admin.groups.find({ max: 1000 })
        : await admin.groups.listSubGroups({ parentId: parent, max: 1000 });
    const there = siblings.find((group) => group.name === name)?.id;
    parent =
      there ??
      (parent === undefined
        ? await admin.groups.create({ name })
        : await admin.groups.createChildGroup({ id: parent }, { name })
      ).id;
  }
  if (parent === undefined) throw new Error(`not a group path: ${JSON.stringify(path)}`);
  return parent;
}

async function ensureClient(
  admin: KeycloakAdminClient,
  clientID: string,
  roleNames: readonly string[],
): Promise<{ clientSecret: string; serviceAccountID: string }> {
  await admin.clients
    .create({
      clientId: clientID,
      secret: randomBytes(24).toString("base64url"),
      publicClient: false,
      serviceAccountsEnabled: true,
      standardFlowEnabled: false,
      directAccessGrantsEnabled: false,
    })
    .catch(unlessConflict);
  const id = await clientUUID(admin, clientID);
  const { id: serviceAccountID } = await admin.clients.getServiceAccountUser({ id });
  const { value: clientSecret } = await admin.clients.getClientSecret({ id });
  if (serviceAccountID === undefined || clientSecret === undefined) {
    throw new Error(`client ${clientID} has no service account or no secret`);
  }
  if (roleNames.length > 0) await grantRealmManagement(admin, { user: serviceAccountID }, roleNames);
  return { clientSecret, serviceAccountID };
}

/** The roles of client realm-management, by name. */
export async function realmManagementRoles(
  admin: KeycloakAdminClient,
  names: readonly string[],
): Promise<{ id: string; roles: { id: string; name: string }[] }> {
  const id = await clientUUID(admin, "realm-management");
  const all = await admin.clients.listRoles({ id });
  const roles = all.flatMap((role) =>
    role.id !== undefined && role.name !== undefined && names.includes(role.name)
      ? [{ id: role.id, name: role.name }]
      : [],
  );
  return { id, roles };
}

async function clientUUID(admin: KeycloakAdminClient, clientID: string): Promise<string> {
  const [client] = await admin.clients.find({ clientId: clientID });
  if (client?.id === undefined) throw new Error(`no client ${clientID}`);
  return client.id;
}

async function writeProfile(admin: KeycloakAdminClient, kind: NonNullable<RealmOptions["profile"]>): Promise<void> {
  const { unmanagedAttributePolicy: _old, ...profile } = await admin.users.getProfile();
  const marks = ["sme_tenant_id", "sme_user_uuid"];
  const edit = kind === "declared-forgeable" ? ["admin", "user"] : ["admin"];
  const declared =
    kind === "declared" || kind === "declared-forgeable" || kind === "protected"
      ? marks.map((name) => ({ name, permissions: { view: ["admin"], edit }, multivalued: false }))
      : [];
  const policy = kind === "protected" ? "ENABLED" : kind === "ADMIN_EDIT" || kind === "ENABLED" ? kind : undefined;
  const wanted = {
    ...profile,
    attributes: [...(profile.attributes ?? []).filter(({ name }) => !marks.includes(name ?? "")), ...declared],
    ...(policy === undefined ? {} : { unmanagedAttributePolicy: policy }),
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the policy is an enum that is exported as a type only
  await admin.users.updateProfile(wanted as Parameters<typeof admin.users.updateProfile>[0]);
}

function unlessConflict(error: unknown): void {
  if (error instanceof NetworkError && error.response.status === 409) return;
  throw error;
}
