import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT } from "../api/meta.ts";
import { canonicalEmail, groupPath, SECRET_PREFIX } from "../api/names.ts";
import { REASON, type Reason } from "../api/reasons.ts";
import type { TenantSpec } from "../api/tenant.ts";
import { DEFAULT_SECRET_KEYS, type LiveTenantUser, profileFields, type ProfileValues } from "../api/tenantUser.ts";
import { mark } from "../lib/text.ts";

/** What one object asks for, completed from its Tenant: everything a step needs to know of Git. */
export interface Desired extends ProfileValues {
  readonly generation: number;
  readonly email: string;
  /** `spec.userUUID`. */
  readonly pin: string | undefined;
  readonly enabled: boolean;
  readonly suspend: boolean;
  readonly invitation: "None" | "Email";
  readonly requiredActions: readonly string[] | undefined;
  readonly defaultGroups: readonly string[];
  readonly groups: readonly string[] | undefined;
  readonly realmRoles: readonly string[] | undefined;
  readonly attributes: Readonly<Record<string, readonly string[]>> | undefined;
  readonly tier: string;
  readonly quota: number | undefined;
  readonly secret: {
    readonly namespace: string;
    /** Undefined: `newapi-key-<uuid>`. */
    readonly name: string | undefined;
    readonly apiKeyEntry: string;
    readonly baseURLEntry: string;
    readonly baseURL: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly keyGeneration: number;
  readonly keyOverlap: string;
  readonly deletionPolicy: "Delete" | "Retain";
  /** As `mark` makes them of the annotations: short and plain, or a hash. */
  readonly requestedAt: string | undefined;
  readonly rotateRequestedAt: string | undefined;
  readonly verifyKey: boolean;
}

export interface Refusal {
  readonly reason: Reason;
  /** One sentence that the tenant can act on. */
  readonly message: string;
}

export function desire(object: LiveTenantUser, tenant: TenantSpec): Desired {
  const { spec, metadata } = object;
  return {
    generation: metadata.generation,
    email: canonicalEmail(spec.email),
    pin: spec.userUUID,
    enabled: spec.enabled,
    suspend: spec.suspend || tenant.suspend,
    ...profileFields((field) => spec[field]),
    invitation: spec.invitation,
    requiredActions: spec.requiredActions,
    defaultGroups: tenant.keycloak.defaultGroups,
    groups: spec.groups,
    realmRoles: spec.realmRoles,
    attributes: spec.attributes,
    tier: spec.newapi?.tier ?? tenant.newapi.tier,
    quota: spec.newapi?.quota,
    secret: {
      namespace: metadata.namespace,
      name: spec.secret?.name,
      apiKeyEntry: spec.secret?.keys?.apiKey ?? DEFAULT_SECRET_KEYS.apiKey,
      baseURLEntry: spec.secret?.keys?.baseURL ?? DEFAULT_SECRET_KEYS.baseURL,
      baseURL: tenant.newapi.publicBaseURL ?? tenant.newapi.url,
      labels: spec.secret?.labels ?? {},
      annotations: spec.secret?.annotations ?? {},
    },
    keyGeneration: spec.key?.generation ?? 0,
    keyOverlap: spec.key?.overlap ?? "0s",
    deletionPolicy: spec.deletionPolicy,
    requestedAt: marked(metadata.annotations?.[ANNOTATION_REQUESTED_AT]),
    rotateRequestedAt: marked(metadata.annotations?.[ANNOTATION_ROTATE_REQUESTED_AT]),
    verifyKey: tenant.newapi.verifyKey,
  };
}

/** Both are only compared, so they are kept as what can be kept anywhere. */
function marked(annotation: string | undefined): string | undefined {
  return annotation === undefined ? undefined : mark(annotation);
}

/**
 * Whether the tenant's word is enough for an address to count as verified: one of the domains that the platform gave it, or
 * any, where nobody else's people are in the realm.
 */
export function vouches(email: string, { allow }: TenantSpec, realmIsExclusive: boolean): boolean {
  return allow.emailDomains.length === 0 ? realmIsExclusive : hasDomain(email, allow.emailDomains);
}

function hasDomain(email: string, domains: readonly string[]): boolean {
  return domains.some((allowed) => allowed.toLowerCase() === domainOf(email));
}

function domainOf(email: string): string {
  return email.slice(email.lastIndexOf("@") + 1);
}

/**
 * What the platform did not allow, as one sentence naming it; undefined when everything is allowed. From Git a tenant
 * gets nothing but the Tenant's default groups and tier: this is the wall, and it stands without the webhook too.
 */
export function refusal(desired: Desired, tenant: TenantSpec): Refusal | undefined {
  const { allow } = tenant;
  const notAllowed = (what: string, name: string, list: string): Refusal => ({
    reason: REASON.NotAllowed,
    message: `${what} ${JSON.stringify(name)} is not allowed for this tenant; remove it, or ask the platform to add it to ${list} of the Tenant.`,
  });

  if (allow.emailDomains.length > 0 && !hasDomain(desired.email, allow.emailDomains)) {
    return notAllowed("Email domain", domainOf(desired.email), "allow.emailDomains");
  }
  const groups = new Set([...allow.groups, ...tenant.keycloak.defaultGroups].map(groupPath));
  const group = desired.groups?.find((name) => !groups.has(groupPath(name)));
  if (group !== undefined) return notAllowed("Group", group, "allow.groups");
  const role = desired.realmRoles?.find((name) => !allow.realmRoles.includes(name));
  if (role !== undefined) return notAllowed("Realm role", role, "allow.realmRoles");
  const attribute = Object.keys(desired.attributes ?? {}).find((name) => !allow.attributes.includes(name));
  if (attribute !== undefined) return notAllowed("Attribute", attribute, "allow.attributes");
  if (desired.tier !== tenant.newapi.tier && !allow.tiers.includes(desired.tier)) {
    return notAllowed("Tier", desired.tier, "allow.tiers");
  }
  if (desired.quota !== undefined && !(desired.quota <= (tenant.limits?.maxQuota ?? -1))) {
    return notAllowed("Quota", String(desired.quota), "limits.maxQuota");
  }
  if (desired.deletionPolicy === "Retain" && !allow.retain) {
    return {
      reason: REASON.NotAllowed,
      message:
        'Deletion policy "Retain" is not allowed for this tenant; use Delete, or ask the platform to set allow.retain of the Tenant. Deleted as it is, the accounts are locked for 30 days, and then undone.',
    };
  }
  const { name } = desired.secret;
  if (name !== undefined && ![SECRET_PREFIX, ...allow.secretPrefixes].some((prefix) => name.startsWith(prefix))) {
    return notAllowed("Secret name", name, "allow.secretPrefixes");
  }
  const metadata = [...Object.keys(desired.secret.labels), ...Object.keys(desired.secret.annotations)];
  const foreign = metadata.find((key) => !allow.secretMetadata.includes(key));
  if (foreign !== undefined) return notAllowed("Secret label or annotation", foreign, "allow.secretMetadata");
  return undefined;
}
