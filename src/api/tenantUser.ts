/** TenantUser: one person of one tenant, as the tenant commits it. The one source of its type, CRD, reference and editor schema. */
import * as z from "zod";
import { amount, API_VERSION, conditions, flag, liveMeta, objectMeta, set, text, time, told } from "./meta.ts";

/** Where a saga can stand; the forward states are in order. */
export const SAGA_STATES = [
  "pending",
  "kc_created",
  "newapi_created",
  "secret_applied",
  "done",
  "failed",
  "deleting",
  "deleted",
  "retained",
  "orphaned",
] as const;
export type SagaState = (typeof SAGA_STATES)[number];

export const STEP_NAMES = ["keycloak", "newapi", "secret"] as const;
export type StepName = (typeof STEP_NAMES)[number];

/** Where else an object can fail, beside the three steps. */
export const ERROR_PLACES = [...STEP_NAMES, "admission", "finalizer", "release"] as const;
export const ERROR_CLASSES = ["transient", "conflict", "terminal", "waiting"] as const;

/** The names of the Secret's entries where `spec.secret.keys` says nothing else. */
export const DEFAULT_SECRET_KEYS = { apiKey: "api-key", baseURL: "base-url" } as const;

const duration = (description: string) =>
  z
    .string()
    .min(2)
    .max(32)
    .meta({ description: `${description} Digits and d, h, m or s, for example 7d or 1h30m.` });

const names = (description: string) => set({ longest: 255, most: 64 }, description).optional();

const newapiSpec = z
  .object({
    tier: text(
      64,
      "The gateway's group for this person. Absent: the Tenant's tier. Another one must be in the Tenant's allow.tiers.",
    ).optional(),
    quota: amount(
      "How much the person may spend, in the gateway's own units. Absent: not managed. At most the Tenant's limits.maxQuota.",
    ),
  })
  .describe("What the person gets at NewAPI, the LLM gateway.");

const secretKeys = z
  .object({
    apiKey: text(253, "The entry that holds the API key.").default(DEFAULT_SECRET_KEYS.apiKey),
    baseURL: text(253, "The entry that holds the gateway's address.").default(DEFAULT_SECRET_KEYS.baseURL),
  })
  .describe("Other names for the Secret's entries, for example OPENAI_API_KEY and OPENAI_BASE_URL.");

const secretSpec = z
  .object({
    name: text(
      253,
      "The Secret's name. Absent: newapi-key-<uuid>. Must begin with newapi-key- or with a prefix from the Tenant's allow.secretPrefixes.",
    ).optional(),
    keys: secretKeys.optional(),
    labels: z.record(z.string(), z.string().max(63)).optional().meta({
      maxProperties: 16,
      description: "Labels to add to the Secret. Each name must be in the Tenant's allow.secretMetadata.",
    }),
    annotations: z.record(z.string(), z.string().max(4096)).optional().meta({
      maxProperties: 16,
      description: "Annotations to add to the Secret. Each name must be in the Tenant's allow.secretMetadata.",
    }),
  })
  .describe("The Secret that carries the API key, in the namespace of this object.");

/** It is part of the name of a key at the gateway, and some gateways take 30 characters for that. */
const MOST_KEY_GENERATION = 1_000_000;

const keySpec = z
  .object({
    generation: z
      .int()
      .min(0)
      .max(MOST_KEY_GENERATION)
      .default(0)
      .describe(
        "Raise it to rotate the key: a number above status.key.generation rotates once; a lower one is ignored. It is part of the name that the key has at the gateway, which must stay short.",
      ),
    overlap: duration("How long the old key stays alive after a rotation, where the gateway can do that.").default(
      "0s",
    ),
  })
  .describe("Rotation of the API key.");

const name = (description: string) => text(255, description).optional();

/** What Keycloak keeps of a person beside the address; how it keeps each stands in src/keycloak/profileFields.ts. */
const profile = {
  displayName: name("The name that people see. Absent: not managed. Taken out again: removed."),
  firstName: name("Given name, as in Keycloak. Absent: not managed. Taken out again: removed."),
  lastName: name("Family name, as in Keycloak. Absent: not managed. Taken out again: removed."),
};
export type ProfileField = keyof typeof profile;
export type ProfileValues = { readonly [Field in ProfileField]: string | undefined };
export const PROFILE_FIELDS = Object.keys(profile) as ProfileField[];

/** One value for each of these fields. */
export function profileFields<Value>(valueOf: (field: ProfileField) => Value): { [Field in ProfileField]: Value } {
  return Object.fromEntries(PROFILE_FIELDS.map((field) => [field, valueOf(field)])) as Record<ProfileField, Value>;
}

export const tenantUserSpec = z
  .object({
    email: z
      .string()
      .min(3)
      .max(254)
      .describe(
        "The person's address, kept as written. Capitals and surrounding spaces make no difference: it is one person per address and tenant.",
      ),
    ...profile,
    enabled: flag(true, "false locks the person out: the Keycloak and gateway users are disabled, the Secret stays."),
    userUUID: z
      .string()
      .max(64)
      .optional()
      .describe(
        "Pins the person's uuid: one that this tenant already owns, or a fresh version-4 one for a new person on an old address. Absent: derived from tenant and email.",
      ),
    invitation: z
      .enum(["None", "Email"])
      .default("None")
      .describe(
        "Email: Keycloak sends the person one mail asking for the required actions, once per Keycloak user. None: no mail.",
      ),
    requiredActions: set(
      { longest: 64, most: 16 },
      "What Keycloak asks for at the first login, for example UPDATE_PASSWORD; given once, when the Keycloak user is made, and in the invitation. Absent: nothing, and an invitation asks for UPDATE_PASSWORD.",
    ).optional(),
    groups: names(
      "Keycloak groups beyond the tenant's default groups, by name or full path; a slash inside a name is written ~/. Absent: not managed; []: none. Taken out again: those that this gave are taken away. Each must be in the Tenant's allow.groups.",
    ),
    realmRoles: names(
      "Keycloak realm roles. Absent: not managed; []: none. Taken out again: those that this gave are taken away. Each must be in the Tenant's allow.realmRoles.",
    ),
    attributes: z
      .record(
        z.string(),
        z
          .array(z.string().max(255))
          .max(16)
          .meta({ description: "The attribute's values.", "x-kubernetes-list-type": "atomic" }),
      )
      .optional()
      .meta({
        maxProperties: 16,
        description:
          "Keycloak user attributes, each a list of values; it keeps no blank value and none twice. Absent: not managed. Taken out again: those that this gave are removed. Names beginning with sme_ are reserved; each name must be in the Tenant's allow.attributes.",
      }),
    newapi: newapiSpec.optional(),
    secret: secretSpec.optional(),
    key: keySpec.optional(),
    deletionPolicy: z
      .enum(["Delete", "Retain"])
      .default("Delete")
      .describe(
        "What happens when this object is deleted. Delete: Secret, gateway account and Keycloak user are undone. Retain: all three stay.",
      ),
    suspend: flag(false, "true: nothing outside is written for this person, until false. Deletion still runs."),
  })
  .describe("The person, as the tenant wants it.");
/** The spec as people write it: what has a default may be absent. */
export type TenantUserSpecInput = z.input<typeof tenantUserSpec>;

const historyEntry = z
  .object({
    at: time("When it happened."),
    generation: z.int().optional().describe("The metadata.generation that it was about."),
    state: z.enum(SAGA_STATES).describe("The state reached."),
    reason: z.string().describe("The reason, in the words of the conditions."),
    message: told("One sentence: what happened."),
  })
  .describe("One outcome.");

export const tenantUserStatus = z
  .object({
    observedGeneration: z
      .int()
      .optional()
      .describe("The metadata.generation that this status is about; -1 until the first look. Moves on failure too."),
    state: z
      .enum([...SAGA_STATES, "waiting"])
      .optional()
      .describe("How far the saga has come. waiting: it cannot begin yet; the Ready condition says why."),
    userUUID: told("The person's uuid, chosen once."),
    keycloak: z
      .object({ userID: told("The id of the Keycloak user.") })
      .optional()
      .describe("What Keycloak has."),
    newapi: z
      .object({
        userID: told("The id of the account."),
        username: told("The name of the account, where the gateway has names."),
      })
      .optional()
      .describe("What NewAPI has."),
    secretName: told("The Secret that holds the API key."),
    binding: z
      .object({ name: told("The name of the Secret.") })
      .optional()
      .describe("The same Secret, in the form that Service Binding (servicebinding.io) looks for."),
    key: z
      .object({
        generation: z.int().optional().describe("The spec.key.generation that the key in the Secret belongs to."),
        rotatedAt: time("When the key was last rotated.").optional(),
        previousUntil: time("Until when the previous key still works.").optional(),
        lastHandledRotateRequestedAt: told(
          "The last value of the annotation catalyst.openova.io/rotateRequestedAt that was acted on.",
        ),
      })
      .optional()
      .describe("The API key (never the key itself)."),
    retryCount: z.int().optional().describe("Failed attempts in a row at the current step."),
    nextRetryAt: time("When the next attempt is due.").optional(),
    lastError: z
      .object({
        step: z.enum(ERROR_PLACES).optional().describe("Where it failed: one of the three steps, or beside them."),
        class: z
          .enum(ERROR_CLASSES)
          .optional()
          .describe(
            "transient: the reconciler retries. conflict: two claims on one thing. waiting: a precondition is missing. terminal: somebody must act.",
          ),
        code: told("One CamelCase word for the cause."),
        upstreamStatus: z.int().optional().describe("The HTTP status of the upstream's response."),
        message: told("The upstream's message, shortened, secrets removed."),
        at: time("When it happened.").optional(),
      })
      .optional()
      .describe("The last failure. Stays for reading after it was overcome."),
    history: z
      .array(historyEntry)
      .max(5)
      .optional()
      .meta({ description: "The last five outcomes, newest first.", "x-kubernetes-list-type": "atomic" }),
    lastHandledRequestedAt: told("The last value of the annotation catalyst.openova.io/requestedAt that was acted on."),
    conditions: conditions.optional(),
  })
  .describe("What became of it; written by the reconciler alone. Ids in it are hints.");
export type TenantUserStatus = z.infer<typeof tenantUserStatus>;

/** A whole TenantUser as it comes from the API server. Unknown fields are dropped, absent defaults are filled in. */
export const tenantUser = z.object({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal("TenantUser"),
  metadata: objectMeta,
  spec: tenantUserSpec,
  // A status is a hint: one that cannot be read (written by another version) is as good as none.
  status: tenantUserStatus.optional().catch(undefined),
});
export type TenantUser = z.infer<typeof tenantUser>;

/** The same, read from a live cluster: uid, resourceVersion, generation and creationTimestamp are there. */
export const liveTenantUser = tenantUser.extend({ metadata: liveMeta.extend({ namespace: z.string() }) });
export type LiveTenantUser = z.infer<typeof liveTenantUser>;
