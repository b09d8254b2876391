/** The rules of a Tenant. What depends on its users (realm, addresses and dialect fixed while there are any) is the reconciler's. */
import { DURATION_PATTERN } from "../duration.ts";
import { GROUP } from "../meta.ts";
import {
  DNS_LABEL,
  DNS_SUBDOMAIN,
  EMAIL_DOMAIN,
  PLAIN,
  PLAIN_NO_GLOB,
  QUALIFIED_NAME,
  URL_BASE,
  URL_DOT_SEGMENT,
  URL_LONG_HOST,
} from "./patterns.ts";
import { immutable, matching, notMatching, rule, type Rule } from "./rule.ts";

/** Whatever passes can be asked: no part of it is read differently, or refused, by whoever parses it later. */
const url = (name: string, path: string): Rule[] => [
  matching(
    name,
    path,
    URL_BASE,
    "must be an http or https address without user, query, fragment and slash at the end, with a port from 1 to 65535 if any, such as https://keycloak.example.com; write an international host in its xn-- form",
  ),
  notMatching(`${name}-host`, path, URL_LONG_HOST, "must have a host of at most 253 characters"),
  notMatching(`${name}-path`, path, URL_DOT_SEGMENT, "must have a path without . and .. between its slashes"),
];

const credentials = (name: string, path: string) =>
  matching(name, path, DNS_SUBDOMAIN, "must be the name of a Secret: lower-case letters, digits, hyphens and dots");

const exact = (name: string, path: string, what: string) =>
  matching(name, path, PLAIN_NO_GLOB, `must be ${what}, exactly: one line, without spaces around it, no * for many`);

export const tenantRules: readonly Rule[] = [
  matching(
    "tenant-id-form",
    "spec.tenantID",
    DNS_LABEL,
    "must be a DNS label: lower-case letters, digits and hyphens, at most 63",
  ),
  immutable("tenant-id-immutable", "spec.tenantID", "is immutable: it is part of every user's identity"),
  matching("namespace", "spec.namespaces[*]", DNS_LABEL, "must be the name of a namespace"),
  ...url("keycloak-url", "spec.keycloak.url"),
  matching(
    "realm-form",
    "spec.keycloak.realm",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$",
    "must be a realm's name: letters, digits, dots, hyphens and underscores",
  ),
  rule<string>({
    name: "realm-not-master",
    path: "spec.keycloak.realm",
    cel: 'self != "master"',
    message: "must not be master: users of that realm could become administrators of all of Keycloak",
    holds: (self) => self !== "master",
  }),
  credentials("keycloak-credentials", "spec.keycloak.credentialsSecretName"),
  exact("default-group", "spec.keycloak.defaultGroups[*]", "a group's name or full path"),
  rule<string>({
    name: "keycloak-ca",
    path: "spec.keycloak.caBundle",
    cel: 'self.contains("-----BEGIN CERTIFICATE-----")',
    message: "must hold certificates in PEM form, beginning with -----BEGIN CERTIFICATE-----",
    holds: (self) => self.includes("-----BEGIN CERTIFICATE-----"),
  }),
  ...url("newapi-url", "spec.newapi.url"),
  credentials("newapi-credentials", "spec.newapi.credentialsSecretName"),
  ...url("newapi-public-url", "spec.newapi.publicBaseURL"),
  matching("newapi-tier", "spec.newapi.tier", PLAIN, "must be a tier's name: one line, without spaces around it"),
  matching("deletion-grace", "spec.deletionGrace", DURATION_PATTERN, "must be a span of time such as 0s, 12h or 7d"),
  exact("allow-group", "spec.allow.groups[*]", "a group's name or full path"),
  exact("allow-realm-role", "spec.allow.realmRoles[*]", "a realm role's name"),
  matching(
    "allow-attribute",
    "spec.allow.attributes[*]",
    "^[A-Za-z0-9._-]+$",
    "must be an attribute's name: letters, digits, dots, hyphens and underscores",
  ),
  rule<string>({
    name: "allow-attribute-reserved",
    path: "spec.allow.attributes[*]",
    cel: '!self.matches("^[sS][mM][eE]_")',
    message: "must not begin with sme_: these names are reserved for the service's own marks",
    holds: (self) => !/^[sS][mM][eE]_/u.test(self),
  }),
  exact("allow-tier", "spec.allow.tiers[*]", "a tier's name"),
  matching(
    "allow-email-domain",
    "spec.allow.emailDomains[*]",
    EMAIL_DOMAIN,
    "must be a domain in lower case, such as example.com: no @ and no *",
  ),
  matching(
    "allow-secret-prefix",
    "spec.allow.secretPrefixes[*]",
    "^[a-z0-9][-a-z0-9.]*$",
    "must be the beginning of a Secret's name: lower-case letters, digits, hyphens and dots",
  ),
  matching(
    "allow-secret-metadata",
    "spec.allow.secretMetadata[*]",
    QUALIFIED_NAME,
    "must be the name of a label or annotation, such as team or example.com/team",
  ),
  rule<string>({
    name: "allow-secret-metadata-reserved",
    path: "spec.allow.secretMetadata[*]",
    cel: `!self.startsWith("${GROUP}/")`,
    message: `must not begin with ${GROUP}/: these names are written by the service`,
    holds: (self) => !self.startsWith(`${GROUP}/`),
  }),
];
