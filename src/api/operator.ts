/** The wire form of the operator's port: what the one on call asks the reconciler, beside what the API server tells. */
import * as z from "zod";
import { ERROR_CLASSES, ERROR_PLACES, profileFields, SAGA_STATES, STEP_NAMES } from "./tenantUser.ts";

/** Who asks, as the cluster calls them. A page in a browser cannot send it, so no page can ask. */
export const OPERATOR_HEADER = "x-unified-rbac-operator";

/** One line of printable text: it ends in audit rows and on terminals. */
const line = z
  .string()
  .trim()
  .min(1)
  .max(256)
  .regex(/^\P{C}*$/u, "must be one line of printable text");
export const operatorName = line;

const step = z.enum(STEP_NAMES);
const when = z.string();

/** Why accounts live on without an object: see docs/kubectl-tenantuser.md. */
export const OWNERLESS = ["orphaned", "retained", "grace"] as const;
export type Ownerless = (typeof OWNERLESS)[number];

/** One row of the state store, as people may see it. Times are RFC 3339. */
export const sagaView = z.object({
  uuid: z.string(),
  tenantID: z.string(),
  email: z.string(),
  state: z.enum(SAGA_STATES),
  namespace: z.string().optional(),
  name: z.string().optional(),
  objectUID: z.string().optional(),
  keycloakUserID: z.string().optional(),
  newapiUserID: z.string().optional(),
  /** namespace/name. */
  secret: z.string().optional(),
  /** They were somebody's before us: never deleted nor disabled. */
  adopted: z.boolean(),
  /** false: the row was written under another cluster. */
  thisCluster: z.boolean(),
  /** Since when it is as it is, where that is known. */
  since: when.optional(),
  ownerless: z.enum(OWNERLESS).optional(),
  /** Steps whose cleanup is pending. */
  pending: z.array(step),
  /** The end of its grace. */
  purgeAt: when.optional(),
  retryCount: z.int(),
  dueAt: when.optional(),
  run: z.object({ reason: z.string(), step, attempt: z.int() }).optional(),
  lastError: z
    .object({
      step: z.enum(ERROR_PLACES),
      class: z.enum(ERROR_CLASSES),
      code: z.string(),
      upstreamStatus: z.int().optional(),
      message: z.string(),
      at: when,
    })
    .optional(),
  history: z.array(
    z.object({
      at: when,
      generation: z.int().optional(),
      state: z.enum(SAGA_STATES),
      reason: z.string(),
      message: z.string().optional(),
    }),
  ),
  createdAt: when,
});
export type SagaView = z.infer<typeof sagaView>;

/** One write to the outside, or one word of an operator. */
export const auditView = z.object({
  at: when,
  uuid: z.string(),
  step: z.string(),
  action: z.string(),
  target: z.string().optional(),
  detail: z.record(z.string(), z.unknown()).optional(),
});
export type AuditView = z.infer<typeof auditView>;

/** The same in a list of all, for who keeps it elsewhere. */
export const auditEntryView = auditView.extend({
  /** Grows from entry to entry, and names one. */
  seq: z.string(),
  tenantID: z.string(),
});
export type AuditEntryView = z.infer<typeof auditEntryView>;

/** `next`: where the following page begins; absent: there is none. */
export const auditPageAnswer = z.object({ entries: z.array(auditEntryView), next: z.string().optional() });
export type AuditPageAnswer = z.infer<typeof auditPageAnswer>;

/** An event of the outbox that NATS does not take as it is. */
export const parkedEventView = z.object({
  id: z.string(),
  type: z.string(),
  tenantID: z.string(),
  uuid: z.string(),
  createdAt: when,
  parkedAt: when,
  reason: z.string(),
});

export const parkedEventsAnswer = z.object({ events: z.array(parkedEventView), truncated: z.boolean() });
export type ParkedEventsAnswer = z.infer<typeof parkedEventsAnswer>;

export const retriedEventsAnswer = z.object({ retried: z.int() });
export type RetriedEventsAnswer = z.infer<typeof retriedEventsAnswer>;

export const sagasAnswer = z.object({ sagas: z.array(sagaView), truncated: z.boolean() });
export type SagasAnswer = z.infer<typeof sagasAnswer>;

/** Newest row first, oldest audit entry first. */
export const peopleAnswer = z.object({ sagas: z.array(sagaView), audit: z.array(auditView), truncated: z.boolean() });
export type PeopleAnswer = z.infer<typeof peopleAnswer>;

/** What a person orders; `email` must be the row's, so that a uuid that was mistaken ends nobody. */
export const endOrder = z.strictObject({
  email: z.string().min(1).max(254),
  reason: line,
  /** Also for a row of another cluster. */
  otherCluster: z.boolean().default(false),
});
export type EndOrder = z.infer<typeof endOrder>;

export const endAnswer = z.object({ saga: sagaView, pending: z.array(step) });
export type EndAnswer = z.infer<typeof endAnswer>;

/** A Keycloak user without marks. */
export const unmanagedUser = z.object({
  id: z.string(),
  username: z.string(),
  email: z.string().optional(),
  enabled: z.boolean(),
  ...profileFields(() => z.string().optional()),
  /** Why it may not be adopted. */
  obstacle: z.string().optional(),
});
export type UnmanagedUser = z.infer<typeof unmanagedUser>;

export const unmanagedUsersAnswer = z.object({
  realm: z.string(),
  adoption: z.enum(["Never", "Unclaimed"]),
  /** false: another Tenant uses the realm, so nobody in it is adopted. */
  realmIsExclusive: z.boolean(),
  namespaces: z.array(z.string()),
  unmanagedUsers: z.array(unmanagedUser),
  /** Where the next page begins. */
  next: z.int().optional(),
});
export type UnmanagedUsersAnswer = z.infer<typeof unmanagedUsersAnswer>;

export const refusalAnswer = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
