/** What the watch of Secrets saw. */
import type { Pool } from "pg";
import { isUUID } from "../api/names.ts";
import { rechecked } from "../saga/transitions.ts";
import { changeRows, kept } from "./changes.ts";

/**
 * The Secret of this name was written (`version`: its resourceVersion) or went: the row's Secret is rechecked.
 * False: nobody's Secret, or the service's own writing.
 */
export async function touchSecret(pool: Pool, namespace: string, name: string, version?: string): Promise<boolean> {
  const itsRow = {
    name: "touch-secret",
    condition: `s.secret_namespace = $1 and s.secret_name = $2
                and ($3::text is null or s.secret_version is distinct from $3)`,
    values: [namespace, name, version ?? null],
  };
  const touched = await changeRows(pool, itsRow, ({ row, now }) => kept(rechecked(row, "secret", version, now)));
  return touched.length > 0;
}

/**
 * All our Secrets of this namespace, as listed: whose is missing, or of another version than the service knows, has its
 * Secret step due. Returns how many.
 */
export async function compareSecrets(
  pool: Pool,
  namespace: string,
  listed: readonly { readonly uid: string; readonly version: string }[],
): Promise<number> {
  const named = listed.filter(({ uid }) => isUUID(uid.toLowerCase()));
  const versions = new Map(named.map(({ uid, version }) => [uid.toLowerCase(), version]));
  const changed = {
    name: "compare-secrets",
    condition: `s.sme_user_uuid in (
      select p.sme_user_uuid from user_provision_state p
      left join unnest($2::uuid[], $3::text[]) as l (uid, version) on l.uid = p.secret_uid
      where p.secret_namespace = $1 and p.secret_uid is not null and l.version is distinct from p.secret_version)`,
    values: [namespace, [...versions.keys()], [...versions.values()]],
  };
  const touched = await changeRows(pool, changed, ({ row, now }) =>
    kept(rechecked(row, "secret", versions.get(row.secretUID ?? ""), now)),
  );
  return touched.length;
}
