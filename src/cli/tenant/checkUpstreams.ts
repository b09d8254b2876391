/** Keycloak and the gateway, asked with the tenant's own credentials, where the person may read those. */
import * as z from "zod";

import { OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { REASON } from "../../api/reasons.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { DIALECTS } from "../../gateway/dialects/index.ts";
import { type GatewaysDeps, makeGateways } from "../../gateway/gateways.ts";
import { makeRealm } from "../../keycloak/client.ts";
import { systemClock } from "../../lib/clock.ts";
import { isSagaError } from "../../lib/errors.ts";
import { pathSegment } from "../../lib/ids.ts";
import { parseMasterKeys } from "../../lib/masterKeys.ts";
import { Sensitive } from "../../lib/sensitive.ts";
import { type ClusterClient, Refused } from "../cluster.ts";
import { type CheckFinding, finding, problem } from "./findings.ts";
import { remediationOf } from "./remediation.ts";
import { withoutEnd } from "../../lib/text.ts";

const CHECK_MS = 20_000;

/** Undefined: it was not asked from here, the reconciler's word stands. */
export async function checkKeycloak(
  cluster: ClusterClient,
  name: string,
  spec: TenantSpec,
  signal: AbortSignal,
): Promise<readonly CheckFinding[] | undefined> {
  const { keycloak, allow } = spec;
  const read = await credential(cluster, keycloak.credentialsSecretName, ["client-id", "client-secret"]);
  if (!("entries" in read)) return without(read, "Keycloak", REASON.KeycloakCredentialsMissing, name, spec);
  return asked("Keycloak", name, spec, async () => {
    const realm = makeRealm({
      url: keycloak.url,
      realm: keycloak.realm,
      caBundle: keycloak.caBundle,
      clientID: read.entries["client-id"].reveal(),
      clientSecret: read.entries["client-secret"],
      clock: systemClock,
    });
    const { defaultGroups } = keycloak;
    const wanted = { defaultGroups, allowedGroups: allow.groups, allowedRealmRoles: allow.realmRoles };
    return realm.check(wanted, AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)]));
  });
}

/** The same for the gateway. */
export async function checkGateway(
  cluster: ClusterClient,
  name: string,
  spec: TenantSpec,
  signal: AbortSignal,
): Promise<readonly CheckFinding[] | undefined> {
  const { tenantID, newapi } = spec;
  const { dialect, url } = newapi;
  const read = await credential(cluster, newapi.credentialsSecretName, DIALECTS[dialect].credentialKeys);
  if (!("entries" in read)) return without(read, "Gateway", REASON.NewAPICredentialsMissing, name, spec);
  return asked("Gateway", name, spec, async () => {
    const gateway = makeGateways(DIALECTS, CHECK_ONLY)({ tenantID, dialect, url, credential: read.entries });
    return (await gateway.check({ tiers: [newapi.tier] }, AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)])))
      .problems;
  });
}

const CHECK_ONLY: GatewaysDeps = {
  clock: systemClock,
  // A check derives nobody's password.
  masterKeys: parseMasterKeys(`1: ${"-".repeat(32)}`),
  limitRaised: () => undefined,
  passwordReset: () => undefined,
};

type Problems = readonly { readonly reason: string; readonly message: string; readonly blocking: boolean }[];

async function asked(
  area: "Keycloak" | "Gateway",
  name: string,
  spec: TenantSpec,
  look: () => Promise<Problems>,
): Promise<readonly CheckFinding[]> {
  try {
    return (await look()).map((found) => problem(name, spec, area, found));
  } catch (error) {
    if (!isSagaError(error)) throw error;
    if (error.class === "terminal") {
      return [problem(name, spec, area, { reason: error.code, message: error.message, blocking: true })];
    }
    // From here it may be out of reach while the reconciler reaches it: its word stands beside this.
    return [finding(area, "unknown", `Asked from here: ${error.message}`)];
  }
}

const secret = z.looseObject({ data: z.record(z.string(), z.string()).default({}) });

type CredentialRead<Key extends string> =
  | { readonly entries: Readonly<Record<Key, Sensitive>> }
  | { readonly problem: string }
  | { readonly notAllowed: string };

async function credential<Key extends string>(
  cluster: ClusterClient,
  name: string,
  keys: readonly Key[],
): Promise<CredentialRead<Key>> {
  const where = `Secret ${name} in namespace ${OPERATOR_NAMESPACE}`;
  try {
    const found = await cluster.get(`/api/v1/namespaces/${OPERATOR_NAMESPACE}/secrets/${pathSegment(name)}`);
    if (found === undefined) return { problem: `${where} does not exist; create it with ${keys.join(" and ")}.` };
    const { data } = secret.parse(found);
    const value = (entry: string): string =>
      withoutEnd(Buffer.from(data[entry] ?? "", "base64").toString("utf8"), "\r\n");
    const lacking = keys.filter((key) => value(key) === "");
    if (lacking.length > 0) return { problem: `${where} has no ${lacking.join(" and ")}; add it.` };
    const entries = Object.fromEntries(keys.map((key) => [key, new Sensitive(value(key))]));
    return { entries: entries as Record<Key, Sensitive> };
  } catch (error) {
    if (error instanceof Refused) return { notAllowed: `You may not read ${where}, so nothing was asked from here.` };
    throw error;
  }
}

function without(
  read: Exclude<CredentialRead<string>, { entries: unknown }>,
  area: "Keycloak" | "Gateway",
  reason: string,
  name: string,
  spec: TenantSpec,
): readonly CheckFinding[] {
  if ("notAllowed" in read) return [finding(area, "unknown", read.notAllowed)];
  return [finding(area, "missing", read.problem, remediationOf(name, spec, reason), reason)];
}
