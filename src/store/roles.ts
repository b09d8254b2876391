/** What each role of the program may do in the database, where each has a login of its own. */
import pg from "pg";

export interface DatabaseRoles {
  /** Calls the functions of admission and reads the Tenants; no right to a table of people. */
  readonly webhook: string | undefined;
  /** Reads and writes rows; makes, changes and drops nothing, and never changes the audit. */
  readonly reconciler: string | undefined;
}

const ADMISSION = [
  "record_candidate(uuid, uuid, text, text, text, text, jsonb)",
  "record_candidates(boolean, uuid[], uuid[], text[], text[], text[], text[], bigint[], jsonb[])",
];

/** Statements that give the roles exactly this, and take away whatever else they had; to be repeated at each migration. */
export function grants(roles: DatabaseRoles, schemaName: string): string[] {
  const schema = pg.escapeIdentifier(schemaName);
  const statements: string[] = [];
  const only = (role: string, ...given: readonly string[]): void => {
    statements.push(
      `revoke all on all tables in schema ${schema} from ${role}`,
      `revoke all on all sequences in schema ${schema} from ${role}`,
      `revoke all on all functions in schema ${schema} from ${role}`,
      `revoke all on schema ${schema} from ${role}`,
      `grant usage on schema ${schema} to ${role}`,
      ...given.map((right) => `grant ${right} to ${role}`),
    );
  };
  if (roles.webhook !== undefined) {
    only(
      pg.escapeIdentifier(roles.webhook),
      "select (tenant_id, name, accepted) on tenants",
      "select on tenant_namespaces",
      ...ADMISSION.map((signature) => `execute on function ${signature}`),
    );
  }
  if (roles.reconciler !== undefined) {
    const role = pg.escapeIdentifier(roles.reconciler);
    only(
      role,
      `select, insert, update, delete on all tables in schema ${schema}`,
      "execute on function forget_audit(timestamptz, bigint)",
    );
    statements.push(
      `revoke update, delete on audit from ${role}`,
      `revoke insert, update, delete on schema_migrations from ${role}`,
    );
  }
  return statements;
}

/** Names among these that the database does not have. */
export async function missingRoles(client: pg.Client, roles: DatabaseRoles): Promise<string[]> {
  const wanted = [roles.webhook, roles.reconciler].filter((name) => name !== undefined);
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) as name where not exists (select from pg_roles where rolname = name)",
    [wanted],
  );
  return rows.map(({ name }) => name);
}
