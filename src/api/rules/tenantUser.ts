/** The rules of a TenantUser that no other object and no later moment can change. What a Tenant allows is the reconciler's. */
import { DURATION_PATTERN } from "../duration.ts";
import { GROUP } from "../meta.ts";
import { PROFILE_FIELDS } from "../tenantUser.ts";
import { DNS_SUBDOMAIN, EMAIL, LABEL_VALUE, PLAIN, QUALIFIED_NAME, SECRET_KEY, UUID } from "./patterns.ts";
import { matching, rule, type Rule } from "./rule.ts";

type Names = Readonly<Record<string, unknown>>;

/**
 * Attributes that Keycloak reads as the user's own fields, or writes for its own ends (why it disabled somebody): they
 * would get round spec.email and the marks, or pass for a lockout.
 */
const USER_FIELDS = ["username", "email", "emailVerified", "firstName", "lastName", "enabled", "id", "disabledReason"];

const plain = (name: string, path: string, what: string) =>
  matching(name, path, PLAIN, `must be ${what}: one line, without spaces around it`);

const kebab = (field: string): string => field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const ours = (name: string, path: string) =>
  rule<Names>({
    name,
    path,
    cel: `self.all(name, !name.startsWith("${GROUP}/"))`,
    message: `must not contain names beginning with ${GROUP}/: they are written by the service`,
    holds: (self) => Object.keys(self).every((key) => !key.startsWith(`${GROUP}/`)),
  });

const qualified = (name: string, path: string, what: string) => {
  const expression = new RegExp(QUALIFIED_NAME, "u");
  return rule<Names>({
    name,
    path,
    cel: `self.all(name, name.size() <= 317 && name.matches(r"${QUALIFIED_NAME}"))`,
    message: `must have names that Kubernetes takes for ${what}, such as team or example.com/team`,
    holds: (self) => Object.keys(self).every((key) => key.length <= 317 && expression.test(key)),
  });
};

export const tenantUserRules: readonly Rule[] = [
  matching(
    "email-form",
    "spec.email",
    EMAIL,
    "must be one email address such as ada@example.com, in plain ASCII; write an international domain in its xn-- form",
  ),
  rule<string>({
    name: "email-local-part",
    path: "spec.email",
    cel: '!self.matches("^ *[^@ ]{65}")',
    message: "must have at most 64 characters before the @",
    holds: (self) => !/^ *[^@ ]{65}/u.test(self),
  }),
  ...PROFILE_FIELDS.map((field) => plain(kebab(field), `spec.${field}`, "a name")),
  matching(
    "user-uuid-form",
    "spec.userUUID",
    UUID,
    "must be a uuid in lower case, such as 0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90; leave the field out unless a certain uuid is needed",
  ),
  matching(
    "required-action",
    "spec.requiredActions[*]",
    "^[A-Za-z][A-Za-z0-9_-]*$",
    "must be the id of a Keycloak required action, such as UPDATE_PASSWORD",
  ),
  plain("group", "spec.groups[*]", "a group's name or full path"),
  plain("realm-role", "spec.realmRoles[*]", "a realm role's name"),
  rule<Names>({
    name: "attributes-reserved",
    path: "spec.attributes",
    cel: 'self.all(name, !name.matches("^[sS][mM][eE]_"))',
    message: "must not contain names beginning with sme_: they are reserved for the service's own marks",
    holds: (self) => Object.keys(self).every((key) => !/^[sS][mM][eE]_/u.test(key)),
  }),
  rule<Names>({
    name: "attributes-not-fields",
    path: "spec.attributes",
    cel: `self.all(name, !(name in ${JSON.stringify(USER_FIELDS)}))`,
    message: `must not contain ${USER_FIELDS.join(", ")}: these have fields of their own in spec, or are Keycloak's`,
    holds: (self) => Object.keys(self).every((key) => !USER_FIELDS.includes(key)),
  }),
  rule<Names>({
    name: "attributes-names",
    path: "spec.attributes",
    cel: 'self.all(name, name.size() <= 255 && name.matches("^[A-Za-z0-9._-]+$"))',
    message: "must have names of letters, digits, dots, hyphens and underscores",
    holds: (self) => Object.keys(self).every((key) => key.length <= 255 && /^[A-Za-z0-9._-]+$/u.test(key)),
  }),
  plain("tier", "spec.newapi.tier", "a tier's name"),
  matching(
    "secret-name",
    "spec.secret.name",
    DNS_SUBDOMAIN,
    "must be a name that Kubernetes takes for a Secret: lower-case letters, digits, hyphens and dots",
  ),
  matching(
    "secret-key-api-key",
    "spec.secret.keys.apiKey",
    SECRET_KEY,
    "must be a name that Kubernetes takes for an entry of a Secret: letters, digits, hyphens, underscores and dots",
  ),
  matching(
    "secret-key-base-url",
    "spec.secret.keys.baseURL",
    SECRET_KEY,
    "must be a name that Kubernetes takes for an entry of a Secret: letters, digits, hyphens, underscores and dots",
  ),
  rule<{ apiKey: string; baseURL: string }>({
    name: "secret-keys-distinct",
    path: "spec.secret.keys",
    cel: "self.apiKey != self.baseURL",
    message: "must name two different entries for apiKey and baseURL",
    holds: (self) => self.apiKey !== self.baseURL,
  }),
  ours("secret-labels-reserved", "spec.secret.labels"),
  qualified("secret-labels-names", "spec.secret.labels", "labels"),
  matching(
    "secret-label-value",
    "spec.secret.labels[*]",
    LABEL_VALUE,
    "must be a value that Kubernetes takes for a label: letters, digits, hyphens, underscores and dots, or nothing",
  ),
  ours("secret-annotations-reserved", "spec.secret.annotations"),
  qualified("secret-annotations-names", "spec.secret.annotations", "annotations"),
  matching("key-overlap", "spec.key.overlap", DURATION_PATTERN, "must be a span of time such as 30s, 1h30m or 7d"),
];
