/** What every object of ours shares: the group's names, our marks, and the Kubernetes shapes we read and write. */
import * as z from "zod";

export const GROUP = "catalyst.openova.io";
export const VERSION = "v1alpha1";
export const API_VERSION = `${GROUP}/${VERSION}`;

/** What the API server calls our two kinds. */
export const KINDS = {
  TenantUser: { kind: "TenantUser", plural: "tenantusers", singular: "tenantuser", listKind: "TenantUserList" },
  Tenant: { kind: "Tenant", plural: "tenants", singular: "tenant", listKind: "TenantList" },
} as const;
export type Kind = keyof typeof KINDS;

/** Where the service is installed, with the tenants' credentials; the manifests name it. */
export const OPERATOR_NAMESPACE = "unified-rbac-system";

/** Holds a TenantUser until everything it caused elsewhere is undone, or recorded as a pending cleanup. */
export const FINALIZER = `${GROUP}/unified-rbac`;

/** On TenantUsers (for people, never read by code) and on Secrets: the tenant's id. */
export const LABEL_TENANT = `${GROUP}/sme-tenant`;
/** On Secrets: the uuid of the person whose key it holds. */
export const LABEL_USER_UUID = `${GROUP}/sme-user-uuid`;
/** On Secrets: who writes them; the value is {@link FIELD_MANAGER}. */
export const LABEL_MANAGED_BY = `${GROUP}/managed-by`;

/** On TenantUsers: a new value means "now, and retry what failed". */
export const ANNOTATION_REQUESTED_AT = `${GROUP}/requestedAt`;
/** On TenantUsers: a new value rotates the key once, without a commit. */
export const ANNOTATION_ROTATE_REQUESTED_AT = `${GROUP}/rotateRequestedAt`;

/** On Secrets, where a gateway makes it expensive to ask for a key: proves that we wrote this key for this person. */
export const ANNOTATION_KEY_SIGNATURE = `${GROUP}/key-signature`;

/**
 * On the same Secrets: the key's version, followed by `+` while the one before may be alive. So the loss of the database
 * in the middle of a rotation leaves no key behind, and at any other time costs no request for the gateway's keys.
 */
export const ANNOTATION_KEY_VERSION = `${GROUP}/key-version`;

/** The field manager of everything we write. Must not begin with "kubectl": Flux strips the fields of such managers. */
export const FIELD_MANAGER = "unified-rbac";

/** Attributes of a Keycloak user that make it ours: both, always. */
export const MARK_TENANT_ID = "sme_tenant_id";
export const MARK_USER_UUID = "sme_user_uuid";

const timestamp = z.iso.datetime({ offset: true });

/** RFC 3339 text. */
export const time = (description: string) => timestamp.describe(description);
/** A text that is never empty. */
export const text = (max: number, description: string) => z.string().min(1).max(max).describe(description);
/** A text of a status. */
export const told = (description: string) => z.string().optional().describe(description);
export const flag = (byDefault: boolean, description: string) => z.boolean().default(byDefault).describe(description);
/** A number from 0 on; absent: not said. */
export const amount = (description: string) => z.int().min(0).optional().describe(description);
/** A list without an order in which nothing stands twice. */
export const set = (items: { longest: number; most: number }, description: string) =>
  z.array(z.string().min(1).max(items.longest)).max(items.most).meta({ description, "x-kubernetes-list-type": "set" });

/** The part of Kubernetes metadata that we read; the rest passes through untouched. */
export const objectMeta = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  finalizers: z.array(z.string()).optional(),
});
export type ObjectMeta = z.infer<typeof objectMeta>;

/** Metadata of an object that was read from the API server: these fields are always there. */
export const liveMeta = objectMeta.extend({
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.int(),
  creationTimestamp: z.string(),
});

/** A `metav1.Condition`. */
export const condition = z
  .object({
    type: z.string().min(1).max(316).describe("Which aspect this is about, in CamelCase."),
    status: z.enum(["True", "False", "Unknown"]).describe("Whether the condition holds: True, False or Unknown."),
    observedGeneration: amount("The metadata.generation that the condition was computed from."),
    lastTransitionTime: timestamp.describe("When the status of the condition last changed."),
    reason: z.string().min(1).max(1024).describe("One CamelCase word for the cause; see the list of reasons."),
    message: z.string().max(32768).describe("One sentence: what happened, and what to do."),
  })
  .describe("One observation about the object.");
export type Condition = z.infer<typeof condition>;

/** `status.conditions`: a map keyed by type, as everywhere in Kubernetes. */
export const conditions = z
  .array(condition)
  .max(32)
  .meta({
    description: "What holds about this object right now, one entry per type.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
  });
