/** Keycloak and the gateway, asked with the tenant's own credentials, where the person may read those. */
import * as z from "zod";

import { REASON } from "../../api/reasons.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { makeRealm } from "../../keycloak/client.ts";
import { systemClock } from "../../lib/clock.ts";
import { isSagaError } from "../../lib/errors.ts";
import { parseMasterKeys } from "../../lib/masterKeys.ts";
import { Sensitive } from "../../lib/sensitive.ts";
import { makeAdminV1Gateway } from "../../newapi/adminV1.ts";
import type { Gateway } from "../../newapi/gateway.ts";
import { makeNewApiGateway } from "../../newapi/newApi/gateway.ts";
import { makeLimitsByOrigin } from "../../newapi/newApi/limits.ts";
import { type ClusterClient, Refused } from "../cluster.ts";
import { type Finding, problem } from "./findings.ts";
import { mendingOf } from "./mending.ts";
import { OPERATOR_NAMESPACE } from "./values.ts";

const LOOK_MS = 20_000;

/** Undefined: it was not asked from here, the reconciler's word stands. */
export async function lookAtKeycloak(
  cluster: ClusterClient,
  name: string,
  spec: TenantSpec,
  signal: AbortSignal,
): Promise<readonly Finding[] | undefined> {
  const { keycloak, allow } = spec;
  const read = await credential(cluster, keycloak.credentialsSecretName, ["client-id", "client-secret"]);
  if (!("entries" in read)) return without(read, "Keycloak", REASON.KeycloakCredentialsMissing, name, spec);
  const [clientID, clientSecret] = read.entries;
  return asked("Keycloak", name, spec, async () => {
    const realm = makeRealm({
      url: keycloak.url,
      realm: keycloak.realm,
      caBundle: keycloak.caBundle,
      clientID: clientID.reveal(),
      clientSecret,
      clock: systemClock,
    });
    const { defaultGroups } = keycloak;
    const wanted = { defaultGroups, allowedGroups: allow.groups, allowedRealmRoles: allow.realmRoles };
    return realm.check(wanted, AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS)]));
  });
}

/** The same for the gateway. */
export async function lookAtGateway(
  cluster: ClusterClient,
  name: string,
  spec: TenantSpec,
  signal: AbortSignal,
): Promise<readonly Finding[] | undefined> {
  const { newapi } = spec;
  const second = newapi.dialect === "new-api" ? "user-id" : "token";
  const read = await credential(cluster, newapi.credentialsSecretName, ["token", second]);
  if (!("entries" in read)) return without(read, "Gateway", REASON.NewAPICredentialsMissing, name, spec);
  const [token, userID] = read.entries;
  return asked("Gateway", name, spec, async () => {
    const gateway = gatewayOf(spec, token, userID);
    return (await gateway.check({ tiers: [newapi.tier] }, AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS)])))
      .problems;
  });
}

function gatewayOf({ tenantID, newapi }: TenantSpec, token: Sensitive, userID: Sensitive): Gateway {
  const settings = { tenantID, url: newapi.url, token, clock: systemClock };
  if (newapi.dialect === "admin-v1") return makeAdminV1Gateway(settings);
  return makeNewApiGateway({
    ...settings,
    userID: userID.reveal(),
    // A check derives nobody's password.
    masterKeys: parseMasterKeys(`1: ${"-".repeat(32)}`),
    limits: makeLimitsByOrigin(systemClock)(newapi.url),
    passwordReset: () => undefined,
  });
}

type Problems = readonly { readonly reason: string; readonly message: string; readonly blocking: boolean }[];

async function asked(
  area: "Keycloak" | "Gateway",
  name: string,
  spec: TenantSpec,
  look: () => Promise<Problems>,
): Promise<readonly Finding[]> {
  try {
    return (await look()).map((found) => problem(name, spec, area, found));
  } catch (error) {
    if (!isSagaError(error)) throw error;
    if (error.class === "terminal") {
      return [problem(name, spec, area, { reason: error.code, message: error.message, blocking: true })];
    }
    // From here it may be out of reach while the reconciler reaches it: its word stands beside this.
    return [{ area, level: "unknown", message: `Asked from here: ${error.message}`, mend: [] }];
  }
}

const secret = z.looseObject({ data: z.record(z.string(), z.string()).default({}) });

type Read =
  | { readonly entries: readonly [Sensitive, Sensitive] }
  | { readonly problem: string }
  | { readonly notAllowed: string };

async function credential(cluster: ClusterClient, name: string, needed: readonly [string, string]): Promise<Read> {
  const where = `Secret ${name} in namespace ${OPERATOR_NAMESPACE}`;
  const names = [...new Set(needed)];
  try {
    const found = await cluster.get(`/api/v1/namespaces/${OPERATOR_NAMESPACE}/secrets/${name}`);
    if (found === undefined) return { problem: `${where} does not exist; create it with ${names.join(" and ")}.` };
    const { data } = secret.parse(found);
    const value = (entry: string): string =>
      Buffer.from(data[entry] ?? "", "base64")
        .toString("utf8")
        .replace(/[\r\n]+$/, "");
    const lacking = names.filter((entry) => value(entry) === "");
    if (lacking.length > 0) return { problem: `${where} has no ${lacking.join(" and ")}; add it.` };
    return { entries: [new Sensitive(value(needed[0])), new Sensitive(value(needed[1]))] };
  } catch (error) {
    if (error instanceof Refused) return { notAllowed: `You may not read ${where}, so nothing was asked from here.` };
    throw error;
  }
}

function without(
  read: Exclude<Read, { entries: unknown }>,
  area: "Keycloak" | "Gateway",
  reason: string,
  name: string,
  spec: TenantSpec,
): readonly Finding[] {
  if ("notAllowed" in read) return [{ area, level: "unknown", message: read.notAllowed, mend: [] }];
  return [{ area, level: "missing", reason, message: read.problem, mend: mendingOf(name, spec, reason) }];
}
