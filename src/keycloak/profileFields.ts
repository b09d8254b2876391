/** The fields of a person that the spec gives and Keycloak keeps: what one is stands here, and everybody else follows. */
import * as z from "zod";
import { PROFILE_FIELDS, type ProfileField, profileFields, type ProfileValues } from "../api/tenantUser.ts";

interface FieldRule {
  /** Where Keycloak keeps it: a field of the user, or an attribute, which the realm's user profile must let through. */
  readonly kept: "field" | "attribute";
  /** It counts as given by us, so that it is taken away again once the spec gives it no longer. */
  readonly managed: boolean;
  /** It is written to an adopted account too, which was somebody's before us. */
  readonly adopted: boolean;
}

const RULES = {
  displayName: { kept: "attribute", managed: true, adopted: true },
  firstName: { kept: "field", managed: true, adopted: true },
  lastName: { kept: "field", managed: true, adopted: true },
} as const satisfies Readonly<Record<ProfileField, FieldRule>>;
export const PROFILE_RULES: Readonly<Record<ProfileField, FieldRule>> = RULES;

export type UserField = {
  [Field in ProfileField]: (typeof RULES)[Field]["kept"] extends "field" ? Field : never;
}[ProfileField];
export type UserFields = { readonly [Field in UserField]: string | undefined };

const isUserField = (field: ProfileField): field is UserField => PROFILE_RULES[field].kept === "field";
/** Every PUT of a user must repeat these: Keycloak takes away what is left out. */
export const USER_FIELDS: readonly UserField[] = PROFILE_FIELDS.filter(isUserField);
export const PROFILE_ATTRIBUTES: readonly ProfileField[] = PROFILE_FIELDS.filter((field) => !isUserField(field));

/** One value for each field that Keycloak keeps as such. */
export function userFields<Value>(valueOf: (field: UserField) => Value): { [Field in UserField]: Value } {
  return Object.fromEntries(USER_FIELDS.map((field) => [field, valueOf(field)])) as { [Field in UserField]: Value };
}

/** Undefined: it is no field of the profile. */
export function ruleOf(name: string): FieldRule | undefined {
  return (PROFILE_RULES as Readonly<Record<string, FieldRule | undefined>>)[name];
}

/** Of Keycloak's answers. */
export const userFieldAnswers = userFields(() => z.string().optional());

/** What a user has of the profile, wherever Keycloak keeps it. */
export function profileIn(
  user: Partial<UserFields> & { readonly attributes?: Readonly<Record<string, readonly string[]>> | undefined },
): ProfileValues {
  return profileFields((field) => (isUserField(field) ? user[field] : user.attributes?.[field]?.[0]));
}
