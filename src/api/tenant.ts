/** Tenant: which namespaces, which Keycloak realm and which gateway belong to one tenant; written by the platform's operator. */
import * as z from "zod";
import { amount, API_VERSION, conditions, flag, liveMeta, objectMeta, set, text } from "./meta.ts";

/** Names only: what each dialect is stands in src/gateway/dialects. */
export const DIALECT_NAMES = ["admin-v1", "new-api"] as const;
export type DialectName = (typeof DIALECT_NAMES)[number];
export const DEFAULT_DIALECT: DialectName = "admin-v1";

/** What becomes of the gateway's account of a person who was deleted. */
export const ACCOUNT_DELETIONS = ["Disable", "Delete"] as const;
export type AccountDeletion = (typeof ACCOUNT_DELETIONS)[number];

export const ADOPTIONS = ["Never", "Unclaimed"] as const;

const url = (description: string) => z.string().min(8).max(2048).describe(description);

const allowed = (description: string) => set({ longest: 255, most: 256 }, description).default([]);

const keycloakSpec = z
  .object({
    url: url(
      "Keycloak's address, without the realm and without a slash at the end. Immutable while the tenant has users.",
    ),
    realm: text(255, "The tenant's realm. Immutable while the tenant has users."),
    credentialsSecretName: text(
      253,
      "The Secret in the operator's namespace with the service account: client-id and client-secret.",
    ),
    defaultGroups: set(
      { longest: 255, most: 32 },
      "Groups that every user of the tenant is in, by name or full path; a slash inside a name is written ~/. They must exist.",
    ).default(["sme-users"]),
    caBundle: z
      .string()
      .max(65536)
      .optional()
      .describe("PEM certificates to trust for this address, beside the system's own."),
  })
  .describe("The tenant's Keycloak.");

const newapiSpec = z
  .object({
    dialect: z
      .enum(DIALECT_NAMES)
      .default(DEFAULT_DIALECT)
      .describe("Which admin API the gateway speaks. Immutable while the tenant has users."),
    url: url(
      "The address of the gateway's admin API, without a slash at the end. Immutable while the tenant has users.",
    ),
    credentialsSecretName: text(
      253,
      "The Secret in the operator's namespace with the admin's credential: the entries that the dialect needs.",
    ),
    publicBaseURL: url(
      "The address that people's programs use; it is written into each Secret. Absent: the url.",
    ).optional(),
    tier: text(64, "The gateway's group for users that name no tier.").default("default"),
    deletion: z
      .enum(ACCOUNT_DELETIONS)
      .default("Disable")
      .describe(
        "What becomes of the account of a person who was deleted. Disable: it is locked, and waits for the same person. Delete: its keys are removed, then the account itself, where the dialect can do that.",
      ),
    verifyKey: flag(
      true,
      "Open the gateway with each new key before calling it ready. false: such users are Ready with reason KeyNotVerified.",
    ),
  })
  .describe("The tenant's LLM gateway.");

const limitsSpec = z
  .object({
    maxUsers: amount(
      "How many users the tenant may have: everybody whose accounts are alive, retained and orphaned ones too. The oldest objects come first, the others wait. Absent: no limit.",
    ),
    maxQuota: amount("The highest quota that one user may ask for. Absent: no user may ask for one."),
  })
  .describe("How much the tenant may ask for.");

const allowSpec = z
  .object({
    groups: allowed("Groups, by name or full path; a slash inside a name is written ~/."),
    realmRoles: allowed("Realm roles."),
    attributes: allowed("Names of user attributes."),
    tiers: allowed("Tiers of the gateway."),
    emailDomains: allowed("Domains of email addresses. Empty: every domain."),
    secretPrefixes: allowed("Beginnings of Secret names, beside newapi-key-."),
    secretMetadata: allowed("Names of labels and annotations on Secrets."),
    retain: flag(
      false,
      "true: users may ask for deletionPolicy Retain. false: whoever asks is NotAllowed; deleted all the same, their accounts are locked for 30 days at least, then undone.",
    ),
  })
  .describe(
    "What the tenant's own manifests may ask for: exact names, no patterns. Empty, but for emailDomains, means nothing. In a realm with another Tenant emailDomains must name domains that the other does not.",
  );

export const tenantSpec = z
  .object({
    tenantID: text(63, "The tenant's id, a DNS label. Immutable."),
    namespaces: set(
      { longest: 63, most: 64 },
      "The tenant's namespaces. A namespace belongs to one Tenant: the older claim wins. One with users cannot leave.",
    ),
    keycloak: keycloakSpec,
    newapi: newapiSpec,
    adoption: z
      .enum(ADOPTIONS)
      .default("Never")
      .describe(
        "Unclaimed: a Keycloak user that exists already may be taken over when nobody else has a claim or a right on it.",
      ),
    limits: limitsSpec.optional(),
    deletionGrace: z
      .string()
      .min(2)
      .max(32)
      .default("0s")
      .describe(
        "How long a deleted user can come back as the same person before the accounts are purged. Digits and d, h, m or s, for example 7d.",
      ),
    suspend: flag(false, "true: nothing outside is written for this tenant, until false. Deletion still runs."),
    allow: allowSpec.prefault({}),
  })
  .describe("The tenant, as the platform wants it.");
export type TenantSpec = z.infer<typeof tenantSpec>;
/** The spec as people write it: what has a default may be absent. */
export type TenantSpecInput = z.input<typeof tenantSpec>;

export const tenantStatus = z
  .object({
    observedGeneration: z
      .int()
      .optional()
      .describe("The metadata.generation that this status is about; -1 until the first look."),
    accepted: tenantSpec.optional().meta({
      description: "The last spec that was accepted; the reconciler works with this one.",
      "x-kubernetes-preserve-unknown-fields": true,
    }),
    users: z
      .object({
        total: z.int().optional().describe("Living TenantUsers, waiting ones included."),
        byState: z
          .record(z.string(), z.int().describe("How many users are in this state."))
          .optional()
          .describe("How many users are in each state; pending cleanups and users in their grace are under deleting."),
      })
      .optional()
      .describe("The tenant's users."),
    conditions: conditions.optional(),
  })
  .describe("What the reconciler found; written by it alone.");
export type TenantStatus = z.infer<typeof tenantStatus>;

/** A whole Tenant as it comes from the API server. Unknown fields are dropped, absent defaults are filled in. */
export const tenant = z.object({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal("Tenant"),
  metadata: objectMeta,
  spec: tenantSpec,
  // A status is a hint: one that cannot be read (written by another version) is as good as none.
  status: tenantStatus.optional().catch(undefined),
});
export type Tenant = z.infer<typeof tenant>;

/** The same, read from a live cluster: uid, resourceVersion, generation and creationTimestamp are there. */
export const liveTenant = tenant.extend({ metadata: liveMeta });
export type LiveTenant = z.infer<typeof liveTenant>;
