/** What we read of Keycloak's answers. Anything that does not fit was not said by a Keycloak that we know. */
import * as z from "zod";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { listOf, mapOf } from "../lib/answers.ts";
import { upstreamID } from "../lib/ids.ts";
import { userFieldAnswers } from "./profileFields.ts";

export const userAnswer = z.object({
  id: upstreamID,
  username: z.string(),
  email: z.string().optional(),
  emailVerified: z.boolean().optional(),
  enabled: z.boolean().optional(),
  ...userFieldAnswers,
  attributes: mapOf(listOf(z.string())).optional(),
  federationLink: z.string().optional(),
  serviceAccountClientId: z.string().optional(),
  /** What the one who asks may do with this user. */
  access: mapOf(z.boolean()).optional(),
});
export type User = z.infer<typeof userAnswer>;

/** Stands for an id that cannot be used: no user of any Keycloak has it. */
const NO_ID = "-";
/**
 * Others' users may have any id (a federation's own): theirs is left out, so that one of them never spoils a list. One that
 * carries a mark of ours was not made by us, whatever it says.
 */
export const usersAnswer = listOf(userAnswer.extend({ id: upstreamID.catch(NO_ID) })).refine((users) =>
  users.every(({ id, attributes }) => id !== NO_ID || !MARKS.some((name) => attributes?.[name])),
);
const MARKS = [MARK_TENANT_ID, MARK_USER_UUID];

export const createdAnswer = z.object({ id: upstreamID });
/** Keycloak answers a write with an empty body; a page of HTML here means that somebody else answered. */
export const emptyAnswer = z.union([z.literal(""), z.undefined(), z.null()]);

export interface GroupTree {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly subGroups?: readonly GroupTree[] | undefined;
}
export const groupTreeAnswer: z.ZodType<GroupTree> = z.object({
  id: upstreamID,
  name: z.string(),
  path: z.string(),
  get subGroups() {
    return listOf(groupTreeAnswer).optional();
  },
});
export const groupTreesAnswer = listOf(groupTreeAnswer);

export const roleAnswer = z.object({
  id: upstreamID,
  name: z.string(),
  composite: z.boolean().optional(),
  clientRole: z.boolean().optional(),
  containerId: z.string().optional(),
});
export type Role = z.infer<typeof roleAnswer>;
export const rolesAnswer = listOf(roleAnswer);

export const mappingsAnswer = z.object({
  realmMappings: rolesAnswer.optional(),
  clientMappings: mapOf(z.object({ mappings: rolesAnswer.optional() })).optional(),
});
export type Mappings = z.infer<typeof mappingsAnswer>;

export const clientsAnswer = listOf(z.object({ id: upstreamID, clientId: z.string() }));
export const credentialsAnswer = listOf(z.object({ id: upstreamID }));
export const consentsAnswer = listOf(z.object({ clientId: z.string().min(1) }));
export const federatedAnswer = listOf(z.object({ identityProvider: z.string() }));
export const identityProvidersAnswer = listOf(z.object({ alias: z.string(), enabled: z.boolean().optional() }));

/** With the role view-realm; with less Keycloak leaves most of it out. */
export const realmAnswer = z.object({
  /** Whatever it was imported with. */
  id: z.string().optional(),
  realm: z.string(),
  editUsernameAllowed: z.boolean().optional(),
  duplicateEmailsAllowed: z.boolean().optional(),
  registrationEmailAsUsername: z.boolean().optional(),
  resetPasswordAllowed: z.boolean().optional(),
  smtpServer: z.object({ host: z.string().optional() }).optional(),
  defaultRole: z.object({ name: z.string() }).optional(),
  /** Paths, as Keycloak writes them. */
  defaultGroups: listOf(z.string()).optional(),
});
export type RealmSettings = z.infer<typeof realmAnswer>;

export const profileAnswer = z.object({
  attributes: listOf(
    z.object({
      name: z.string(),
      permissions: z.object({ edit: listOf(z.string()).optional() }).optional(),
      /** Present: a value must be given; by these roles alone, and where these scopes are asked for, if it names any. */
      required: z.object({ roles: listOf(z.string()).nullish(), scopes: listOf(z.string()).nullish() }).nullish(),
    }),
  ).optional(),
  unmanagedAttributePolicy: z.string().optional(),
});
export type Profile = z.infer<typeof profileAnswer>;
