import { isUUID } from "../api/names.ts";
import type { AddressHolder } from "../keycloak/realm.ts";
import { withDeadline } from "../lib/deadline.ts";
import { CALL_DEADLINE_MS } from "../lib/http.ts";
import type { Log } from "../lib/log.ts";
import { realmKey } from "../saga/accept.ts";
import { vouches } from "../saga/desired.ts";
import type { SagaRow } from "../saga/row.ts";
import type { TenantRegistry } from "./access.ts";
import type { Lease } from "./lease.ts";

export interface FreeAddressDeps {
  readonly tenants: Pick<TenantRegistry, "get">;
  /** The row of a uuid, whosever it is. */
  readonly sagaOf: (uuid: string) => Promise<SagaRow | undefined>;
  readonly log: Log;
}

/**
 * An account of ours has an address that its row does not know: its person wrote it there. It gets its own back at once, be
 * the person living here, in grace or retained, so that nobody keeps another one waiting. One that no row here has made or
 * found (the database was lost) loses it where it is not verified: which address is its own only its marks would say.
 */
export async function freeAddress(
  deps: FreeAddressDeps,
  lease: Lease,
  holder: AddressHolder,
  signal: AbortSignal,
): Promise<void> {
  const { uuid: saga, tenantID: mine, email: wanted } = lease.row();
  const { uuid, tenantID, userID: target } = holder;
  const realm = deps.tenants.get(mine)?.realm;
  // The marks are what this tenant's Keycloak says: of a person who cannot be there it is told nothing.
  if (realm === undefined || !isUUID(uuid) || !shareRealm(deps, mine, tenantID)) return;
  try {
    const row = await deps.sagaOf(uuid);
    if (row !== undefined && (row.tenantID !== tenantID || row.email === wanted)) return;
    const theirs = deps.tenants.get(tenantID);
    const own =
      row?.confirmed === true && row.keycloakUserID === target && theirs !== undefined
        ? { email: row.email, vouched: vouches(row.email, theirs.spec, theirs.realmIsExclusive) }
        : undefined;
    if (own === undefined && tenantID !== mine) return;
    const free = (cut: AbortSignal): Promise<boolean> =>
      own === undefined ? realm.takeAddress(holder, wanted, cut) : realm.restoreEmail(holder, own, cut);
    if (!(await withDeadline(signal, CALL_DEADLINE_MS, free))) return;
    const action = own === undefined ? "email-taken" : "email-restored";
    lease.wrote({ uuid, tenantID, step: "keycloak", action, target });
    deps.log.warn(
      own === undefined ? "took the address from an unknown user's account" : "restored the address of another account",
      { saga, holder: uuid, outcome: action },
    );
  } catch (error) {
    const fields = { saga, holder: uuid, outcome: "email-not-restored", error };
    deps.log.warn("failed to free the address that another account has", fields);
  }
}

function shareRealm({ tenants }: FreeAddressDeps, mine: string, theirs: string): boolean {
  const [a, b] = [tenants.get(mine), tenants.get(theirs)];
  return a !== undefined && b !== undefined && realmKey(a.spec) === realmKey(b.spec);
}
