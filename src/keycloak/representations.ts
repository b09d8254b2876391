/** What we read of Keycloak's answers. Anything that does not fit was not said by a Keycloak that we know. */
import { z } from "zod";

export const userAnswer = z.object({
  id: z.string().min(1),
  username: z.string(),
  email: z.string().optional(),
  emailVerified: z.boolean().optional(),
  enabled: z.boolean().optional(),
  firstName: z.string().optional(),
  lastName: z.string().optional(),
  attributes: z.record(z.string(), z.array(z.string())).optional(),
  federationLink: z.string().optional(),
  serviceAccountClientId: z.string().optional(),
});
export type User = z.infer<typeof userAnswer>;
export const usersAnswer = z.array(userAnswer);

export const createdAnswer = z.object({ id: z.string().min(1) });
/** Keycloak answers a write with an empty body; a page of HTML here means that somebody else answered. */
export const emptyAnswer = z.union([z.literal(""), z.undefined(), z.null()]);

export interface GroupTree {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly subGroups?: readonly GroupTree[] | undefined;
}
export const groupTreeAnswer: z.ZodType<GroupTree> = z.object({
  id: z.string().min(1),
  name: z.string(),
  path: z.string(),
  get subGroups() {
    return z.array(groupTreeAnswer).optional();
  },
});
export const groupTreesAnswer = z.array(groupTreeAnswer);

export const roleAnswer = z.object({
  id: z.string().min(1),
  name: z.string(),
  composite: z.boolean().optional(),
  clientRole: z.boolean().optional(),
  containerId: z.string().optional(),
});
export type Role = z.infer<typeof roleAnswer>;
export const rolesAnswer = z.array(roleAnswer);

export const mappingsAnswer = z.object({
  realmMappings: z.array(roleAnswer).optional(),
  clientMappings: z.record(z.string(), z.object({ mappings: z.array(roleAnswer).optional() })).optional(),
});
export type Mappings = z.infer<typeof mappingsAnswer>;

export const clientsAnswer = z.array(z.object({ id: z.string().min(1), clientId: z.string() }));
export const federatedAnswer = z.array(z.object({ identityProvider: z.string() }));
export const identityProvidersAnswer = z.array(z.object({ alias: z.string(), enabled: z.boolean().optional() }));

/** With the role view-realm; with less Keycloak leaves most of it out. */
export const realmAnswer = z.object({
  realm: z.string(),
  editUsernameAllowed: z.boolean().optional(),
  resetPasswordAllowed: z.boolean().optional(),
  smtpServer: z.object({ host: z.string().optional() }).optional(),
  defaultRole: z.object({ name: z.string() }).optional(),
});
export type RealmSettings = z.infer<typeof realmAnswer>;

export const profileAnswer = z.object({
  attributes: z
    .array(
      z.object({
        name: z.string(),
        permissions: z.object({ edit: z.array(z.string()).optional() }).optional(),
      }),
    )
    .optional(),
  unmanagedAttributePolicy: z.string().optional(),
});
export type Profile = z.infer<typeof profileAnswer>;
