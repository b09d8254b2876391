/**
 * One table of specs and verdicts. Run through the TypeScript check (test/unit/api/validate.test.ts) and through a real
 * API server (test/e2e/crd.test.ts): both must say the same of every line.
 */
import { API_VERSION, type Kind } from "../../../src/api/meta.ts";

export interface Case {
  readonly name: string;
  readonly kind: Kind;
  /** Merged into a spec that is well; `undefined` takes a field away. */
  readonly patch: Readonly<Record<string, unknown>>;
  /** "path rule" of every violation, in any order. Empty: accepted. */
  readonly verdict: readonly string[];
  /** A null is an error when it is applied (as Flux does), and nothing at all when it is created. */
  readonly appliedOnly?: true;
}

const BASE: Readonly<Record<Kind, Readonly<Record<string, unknown>>>> = {
  TenantUser: { email: "ada@example.com" },
  Tenant: {
    tenantID: "acme",
    namespaces: ["tenant-acme"],
    keycloak: { url: "https://keycloak.example.com", realm: "acme", credentialsSecretName: "acme-keycloak" },
    newapi: { url: "https://gateway.example.com", credentialsSecretName: "acme-newapi" },
  },
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function merged(base: unknown, patch: unknown): unknown {
  if (!isObject(patch) || !isObject(base)) return patch;
  const entries = Object.entries(patch).map(([name, value]) => [name, merged(base[name], value)] as const);
  return Object.fromEntries(
    Object.entries({ ...base, ...Object.fromEntries(entries) }).filter(([, v]) => v !== undefined),
  );
}

/** The whole object of a case. */
export function objectOf({ kind, patch }: Case, name = "case"): Record<string, unknown> {
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec: merged(BASE[kind], patch) };
}

const user = (name: string, patch: Case["patch"], ...verdict: string[]): Case => ({
  name,
  kind: "TenantUser",
  patch,
  verdict,
});
const nullIn = (name: string, patch: Case["patch"], ...verdict: string[]): Case => ({
  ...user(name, patch, ...verdict),
  appliedOnly: true,
});
const tenant = (name: string, patch: Case["patch"], ...verdict: string[]): Case => ({
  name,
  kind: "Tenant",
  patch,
  verdict,
});

const email = (text: string, ...verdict: string[]) =>
  user(`email ${JSON.stringify(text)}`, { email: text }, ...verdict);
const FORM = "spec.email email-form";

const emails: Case[] = [
  email("ada@example.com"),
  email("Ada.Lovelace+llm@Sub.Example.COM"),
  email("o'hara@example.com"),
  email("a@b.cd"),
  email("  ada@example.com "),
  email("ada@xn--bcher-kva.example"),
  email("ada@1password.com"),
  email(`${"a".repeat(64)}@example.com`),
  email(`  ${"a".repeat(64)}@example.com`),
  email(`${"a".repeat(65)}@example.com`, "spec.email email-local-part"),
  email("ada", FORM),
  email("ada.example.com", FORM),
  email("ada@", FORM),
  email("@example.com", FORM),
  email("ada@@example.com", FORM),
  email("ada@example@example.com", FORM),
  email("ada@localhost", FORM),
  email("ada@example..com", FORM),
  email("ada@-example.com", FORM),
  email("ada@example-.com", FORM),
  email("ada@127.0.0.1", FORM),
  email("ada@example.com.", FORM),
  email(".ada@example.com", FORM),
  email("ada.@example.com", FORM),
  email("ada..lovelace@example.com", FORM),
  email("ada lovelace@example.com", FORM),
  email("Ada <ada@example.com>", FORM),
  email('"ada"@example.com', FORM),
  email("ada@example.com,bob@example.com", FORM),
  email("ada@exämple.com", FORM),
  email("ädä@example.com", FORM),
  email("ada\u0000@example.com", FORM),
  email("ada@example.com\n", FORM),
  email("\tada@example.com", FORM),
  email("ada@example.com\u00a0", FORM),
  email(`ada@${"a".repeat(63)}.com`),
  email(`ada@${"a".repeat(64)}.com`, FORM),
  email("   ", FORM),
  email("", "spec.email minLength"),
  email(`ada@${"a.".repeat(126)}com`, "spec.email maxLength"),
  user("no email", { email: undefined }, "spec.email required"),
  nullIn("an email of null", { email: null }, "spec.email type"),
  user("an email that is a number", { email: 7 }, "spec.email type"),
];

const users: Case[] = [
  user("names", { displayName: "Ada, Countess of Lovelace 👩‍💻", firstName: "Ada", lastName: "King-Noël" }),
  user("a one-letter name", { displayName: "A" }),
  user("a blank display name", { displayName: "   " }, "spec.displayName display-name"),
  user("a name of two lines", { firstName: "Ada\nLovelace" }, "spec.firstName first-name"),
  user("a name with a space behind", { lastName: "Lovelace " }, "spec.lastName last-name"),
  user("an empty name", { displayName: "" }, "spec.displayName minLength"),
  user("255 characters beyond the first plane", { displayName: "👩".repeat(255) }),
  user("256 of them", { displayName: "👩".repeat(256) }, "spec.displayName maxLength"),
  nullIn("a name of null", { displayName: null }, "spec.displayName type"),

  user("disabled", { enabled: false }),
  user("enabled in words", { enabled: "yes" }, "spec.enabled type"),
  user("null where there is a default", { enabled: null, deletionPolicy: null }),
  user("an unknown field", { colour: "green" }, "spec.colour unknown"),
  user("an unknown field further down", { secret: { keys: { apikey: "x" } } }, "spec.secret.keys.apikey unknown"),

  user("a pinned version-4 uuid", { userUUID: "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90" }),
  user("a pinned version-5 uuid", { userUUID: "0b9d1c7e-5a3f-5e0c-9d43-8a2b6c1e7d90" }),
  user("a pin in capitals", { userUUID: "0B9D1C7E-5A3F-4E0C-9D43-8A2B6C1E7D90" }, "spec.userUUID user-uuid-form"),
  user("a pin in braces", { userUUID: "{0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90}" }, "spec.userUUID user-uuid-form"),
  user("a pin without hyphens", { userUUID: "0b9d1c7e5a3f4e0c9d438a2b6c1e7d90" }, "spec.userUUID user-uuid-form"),
  user("an empty pin", { userUUID: "" }, "spec.userUUID user-uuid-form"),
  user("a pin of another kind", { userUUID: "ada" }, "spec.userUUID user-uuid-form"),

  user("an invitation", { invitation: "Email", requiredActions: ["UPDATE_PASSWORD", "webauthn-register"] }),
  user("an invitation by post", { invitation: "Post" }, "spec.invitation enum"),
  user(
    "a required action with a space",
    { requiredActions: ["UPDATE PASSWORD"] },
    "spec.requiredActions[0] required-action",
  ),
  user("a required action twice", { requiredActions: ["A", "A"] }, "spec.requiredActions[1] set"),

  user("groups by name and path", { groups: ["staff", "/sme-users/research", "R&D *"] }),
  user("no groups", { groups: [], realmRoles: [] }),
  nullIn("groups of null", { groups: null }, "spec.groups type"),
  user("an empty group", { groups: [""] }, "spec.groups[0] minLength"),
  user("a group with a space before", { groups: ["a", " staff"] }, "spec.groups[1] group"),
  user("a group twice", { groups: ["staff", "staff"] }, "spec.groups[1] set"),
  user("a group that is a number", { groups: [1] }, "spec.groups[0] type"),
  user("65 groups", { groups: Array.from({ length: 65 }, (_, n) => `g${n}`) }, "spec.groups maxItems"),
  user("a role with a line break", { realmRoles: ["a\nb"] }, "spec.realmRoles[0] realm-role"),

  user("attributes", { attributes: { department: ["physics", "maths"], "cost-centre": [""], "a.b_c": [] } }),
  user(
    "an attribute that is not a list",
    { attributes: { department: "physics" } },
    "spec.attributes[department] type",
  ),
  user("an attribute of numbers", { attributes: { floor: [3] } }, "spec.attributes[floor][0] type"),
  user("a reserved attribute", { attributes: { sme_tenant_id: ["other"] } }, "spec.attributes attributes-reserved"),
  user("a reserved attribute in capitals", { attributes: { SME_x: ["y"] } }, "spec.attributes attributes-reserved"),
  user("an attribute that only looks reserved", { attributes: { sme: ["y"], xsme_: ["z"] } }),
  user(
    "the email as an attribute",
    { attributes: { email: ["b@example.com"] } },
    "spec.attributes attributes-not-fields",
  ),
  user("an attribute with a space", { attributes: { "cost centre": ["1"] } }, "spec.attributes attributes-names"),
  user("an attribute without a name", { attributes: { "": ["1"] } }, "spec.attributes attributes-names"),
  user(
    "an attribute whose name is too long",
    { attributes: { ["a".repeat(256)]: ["1"] } },
    "spec.attributes attributes-names",
  ),
  user(
    "17 attributes",
    { attributes: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`a${n}`, ["x"]])) },
    "spec.attributes maxProperties",
  ),

  user("tier and quota", { newapi: { tier: "vip", quota: 500_000 } }),
  user("a quota of nothing", { newapi: { quota: 0 } }),
  user("a negative quota", { newapi: { quota: -1 } }, "spec.newapi.quota minimum"),
  user("a quota with a fraction", { newapi: { quota: 1.5 } }, "spec.newapi.quota type"),
  user("a quota in quotes", { newapi: { quota: "5" } }, "spec.newapi.quota type"),
  user("a quota that numbers cannot hold", { newapi: { quota: 2 ** 53 } }, "spec.newapi.quota maximum"),
  user("a blank tier", { newapi: { tier: " " } }, "spec.newapi.tier tier"),

  user("a Secret's name", { secret: { name: "newapi-key-ada.research" } }),
  user("a Secret's name in capitals", { secret: { name: "newapi-key-Ada" } }, "spec.secret.name secret-name"),
  user("a Secret's name with a hyphen behind", { secret: { name: "newapi-key-" } }, "spec.secret.name secret-name"),
  user("a Secret's name with a path", { secret: { name: "newapi-key-a/b" } }, "spec.secret.name secret-name"),
  user("renamed entries", { secret: { keys: { apiKey: "OPENAI_API_KEY", baseURL: "OPENAI_BASE_URL" } } }),
  user("a hidden entry", { secret: { keys: { apiKey: ".key" } } }),
  user("an entry named ..", { secret: { keys: { apiKey: ".." } } }, "spec.secret.keys.apiKey secret-key-api-key"),
  user("an entry named .", { secret: { keys: { baseURL: "." } } }, "spec.secret.keys.baseURL secret-key-base-url"),
  user(
    "an entry with a slash",
    { secret: { keys: { baseURL: "a/b" } } },
    "spec.secret.keys.baseURL secret-key-base-url",
  ),
  user(
    "both entries alike",
    { secret: { keys: { apiKey: "a", baseURL: "a" } } },
    "spec.secret.keys secret-keys-distinct",
  ),
  user(
    "one entry named as the other is by default",
    { secret: { keys: { apiKey: "base-url" } } },
    "spec.secret.keys secret-keys-distinct",
  ),
  user("labels and annotations", {
    secret: {
      labels: { team: "a", "example.com/team": "", "app.kubernetes.io/part-of": "x.y_z" },
      annotations: { note: "any text, even\ntwo lines" },
    },
  }),
  user(
    "a label of ours",
    { secret: { labels: { "catalyst.openova.io/sme-tenant": "other" } } },
    "spec.secret.labels secret-labels-reserved",
  ),
  user(
    "an annotation of ours",
    { secret: { annotations: { "catalyst.openova.io/x": "y" } } },
    "spec.secret.annotations secret-annotations-reserved",
  ),
  user("a label's name with a space", { secret: { labels: { "a b": "c" } } }, "spec.secret.labels secret-labels-names"),
  user(
    "a label's name of 64 characters",
    { secret: { labels: { ["a".repeat(64)]: "c" } } },
    "spec.secret.labels secret-labels-names",
  ),
  user(
    "an annotation's name with two slashes",
    { secret: { annotations: { "a/b/c": "d" } } },
    "spec.secret.annotations secret-annotations-names",
  ),
  user(
    "a label's value with a space",
    { secret: { labels: { a: "b c" } } },
    "spec.secret.labels[a] secret-label-value",
  ),
  user(
    "a label's value of 64 characters",
    { secret: { labels: { a: "b".repeat(64) } } },
    "spec.secret.labels[a] maxLength",
  ),

  user("a rotation with overlap", { key: { generation: 3, overlap: "1h30m" } }),
  user("an overlap of days", { key: { overlap: "7d" } }),
  user("a negative key generation", { key: { generation: -1 } }, "spec.key.generation minimum"),
  user("the last key generation", { key: { generation: 1_000_000 } }),
  user("a key generation that makes a long name", { key: { generation: 1_000_001 } }, "spec.key.generation maximum"),
  user("an overlap without a unit", { key: { overlap: "30" } }, "spec.key.overlap key-overlap"),
  user("an overlap in words", { key: { overlap: "1 day" } }, "spec.key.overlap key-overlap"),
  user("an overlap with a fraction", { key: { overlap: "1.5h" } }, "spec.key.overlap key-overlap"),
  user("an overlap of weeks", { key: { overlap: "2w" } }, "spec.key.overlap key-overlap"),

  user("retained and suspended", { deletionPolicy: "Retain", suspend: true }),
  user("a deletion policy of another kind", { deletionPolicy: "Orphan" }, "spec.deletionPolicy enum"),
  user(
    "several mistakes at once",
    { email: "ada", groups: [" a"], attributes: { sme_x: [] } },
    FORM,
    "spec.groups[0] group",
    "spec.attributes attributes-reserved",
  ),
];

const url = (text: string, ...verdict: string[]) =>
  tenant(`the address ${text}`, { keycloak: { url: text } }, ...verdict);
const URL_RULE = "spec.keycloak.url keycloak-url";

const tenants: Case[] = [
  tenant("the least a tenant needs", {}),
  tenant("everything that can be said", {
    keycloak: {
      defaultGroups: ["sme-users", "/acme/all"],
      caBundle: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    },
    newapi: { dialect: "new-api", publicBaseURL: "https://llm.example.com/v1", tier: "vip", verifyKey: false },
    adoption: "Unclaimed",
    limits: { maxUsers: 0, maxQuota: 10 },
    deletionGrace: "7d",
    suspend: true,
    allow: {
      groups: ["/acme/research"],
      realmRoles: ["llm-user"],
      attributes: ["department"],
      tiers: ["vip"],
      emailDomains: ["example.com", "xn--bcher-kva.example"],
      secretPrefixes: ["llm-"],
      secretMetadata: ["team", "example.com/team"],
    },
  }),
  tenant("no tenantID", { tenantID: undefined }, "spec.tenantID required"),
  tenant("a tenantID in capitals", { tenantID: "Acme" }, "spec.tenantID tenant-id-form"),
  tenant("a tenantID with a slash", { tenantID: "a/b" }, "spec.tenantID tenant-id-form"),
  tenant("a tenantID with a dot", { tenantID: "a.b" }, "spec.tenantID tenant-id-form"),
  tenant("a tenantID of 64 characters", { tenantID: "a".repeat(64) }, "spec.tenantID maxLength"),
  tenant("no namespaces yet", { namespaces: [] }),
  tenant("a namespace twice", { namespaces: ["a", "a"] }, "spec.namespaces[1] set"),
  tenant("a pattern for namespaces", { namespaces: ["tenant-*"] }, "spec.namespaces[0] namespace"),

  url("http://127.0.0.1:8080"),
  url("https://keycloak.example.com/auth"),
  url("http://[::1]:8080"),
  url("https://keycloak.example.com/", URL_RULE),
  url("https://admin:secret@keycloak.example.com", URL_RULE),
  url("https://keycloak.example.com?x=y", URL_RULE),
  url("ftp://keycloak.example.com", URL_RULE),
  url("keycloak.example.com", URL_RULE),
  url("https://keycloak example.com", URL_RULE),
  url("https://gw.example:70000", URL_RULE),
  url("https://gw.example:65536", URL_RULE),
  url("https://gw.example:65535"),
  url("https://gw.example:0", URL_RULE),
  url("https://gw.example:080", URL_RULE),
  url("https://gw.example:", URL_RULE),
  url("https://gw.example:1"),
  url("https://keycloak.example.com#part", URL_RULE),
  url("https://user@keycloak.example.com", URL_RULE),
  url("https://keycloak.example.com\\@evil.example", URL_RULE),
  url("https://256.1.1.1", URL_RULE),
  url("https://1.2.3", URL_RULE),
  url("https://1.2.3.4.5", URL_RULE),
  url("https://0x7f.1", URL_RULE),
  url("https://keycloak.0x1", URL_RULE),
  url("https://keycloak.1", URL_RULE),
  url("https://2130706433", URL_RULE),
  url("https://255.255.255.255:8443/auth"),
  url("https://keycloak..example.com", URL_RULE),
  url("https://keycloak.example.com.", URL_RULE),
  url("https://-keycloak.example.com", URL_RULE),
  url("https://keycloak-.example.com", URL_RULE),
  url(`https://${"a".repeat(63)}.example.com`),
  url(`https://${"a".repeat(64)}.example.com`, URL_RULE),
  url(`https://${"a.".repeat(126)}a`),
  url(`https://${"a.".repeat(126)}ab`, `${URL_RULE}-host`),
  url(`https://example.com/${"a".repeat(2048)}`, "spec.keycloak.url maxLength"),
  url("https://xn--bcher-kva.example"),
  url("https://b\u00fccher.example", URL_RULE),
  url("https://keycloak.example.com/%2e%2e/admin", `${URL_RULE}-path`),
  url("https://keycloak.example.com/a/../b", `${URL_RULE}-path`),
  url("https://keycloak.example.com/.", `${URL_RULE}-path`),
  url("https://keycloak.example.com/.well-known/a..b"),
  url("https://keycloak.example.com/%zz", URL_RULE),
  url("https://keycloak.example.com/a%20b"),
  url("https://keycloak.example.com//auth", URL_RULE),
  url("http://[::]:8080"),
  url("http://[2001:db8::8:800:200c:417a]"),
  url("http://[1:2:3:4:5:6:7:8]"),
  url("http://[1:2:3:4:5:6:7::]"),
  url("http://[1::8]"),
  url("http://[1:2:3:4:5:6:7:8:9]", URL_RULE),
  url("http://[1::2::3]", URL_RULE),
  url("http://[:::]", URL_RULE),
  url("http://[12345::]", URL_RULE),
  url("http://[fe80::1%25eth0]", URL_RULE),
  url("http://[v1.a]", URL_RULE),
  url("http://[]", URL_RULE),
  tenant("a realm's name", { keycloak: { realm: "Acme_1.test" } }),
  tenant("a realm with a slash", { keycloak: { realm: "a/b" } }, "spec.keycloak.realm realm-form"),
  tenant("the master realm", { keycloak: { realm: "master" } }, "spec.keycloak.realm realm-not-master"),
  tenant(
    "a credential Secret in capitals",
    { keycloak: { credentialsSecretName: "Acme" } },
    "spec.keycloak.credentialsSecretName keycloak-credentials",
  ),
  tenant("no default groups", { keycloak: { defaultGroups: [] } }),
  tenant(
    "a pattern for default groups",
    { keycloak: { defaultGroups: ["sme-*"] } },
    "spec.keycloak.defaultGroups[0] default-group",
  ),
  tenant("a CA in another form", { keycloak: { caBundle: "MIIB" } }, "spec.keycloak.caBundle keycloak-ca"),
  tenant("an unknown dialect", { newapi: { dialect: "one-api" } }, "spec.newapi.dialect enum"),
  tenant(
    "gateway addresses that name no host, and a place above",
    { newapi: { url: `https://${"a.".repeat(126)}ab`, publicBaseURL: "https://llm.example.com/.." } },
    "spec.newapi.url newapi-url-host",
    "spec.newapi.publicBaseURL newapi-public-url-path",
  ),
  tenant(
    "a gateway's place above, and a public address that names no host",
    { newapi: { url: "https://llm.example.com/..", publicBaseURL: `https://${"a.".repeat(126)}ab` } },
    "spec.newapi.url newapi-url-path",
    "spec.newapi.publicBaseURL newapi-public-url-host",
  ),
  tenant("a gateway without scheme", { newapi: { url: "gateway.example.com" } }, "spec.newapi.url newapi-url"),
  tenant(
    "a credential Secret with a path",
    { newapi: { credentialsSecretName: "a/b" } },
    "spec.newapi.credentialsSecretName newapi-credentials",
  ),
  tenant(
    "a public address with a slash at the end",
    { newapi: { publicBaseURL: "https://llm.example.com/v1/" } },
    "spec.newapi.publicBaseURL newapi-public-url",
  ),
  tenant("a tier with a space behind", { newapi: { tier: "vip " } }, "spec.newapi.tier newapi-tier"),
  tenant("another adoption", { adoption: "Always" }, "spec.adoption enum"),
  tenant("a negative limit", { limits: { maxUsers: -1 } }, "spec.limits.maxUsers minimum"),
  tenant("a grace in words", { deletionGrace: "a week" }, "spec.deletionGrace deletion-grace"),

  tenant("a pattern for groups", { allow: { groups: ["*"] } }, "spec.allow.groups[0] allow-group"),
  tenant("a pattern for roles", { allow: { realmRoles: ["llm-*"] } }, "spec.allow.realmRoles[0] allow-realm-role"),
  tenant("a pattern for tiers", { allow: { tiers: ["*"] } }, "spec.allow.tiers[0] allow-tier"),
  tenant("a pattern for attributes", { allow: { attributes: ["*"] } }, "spec.allow.attributes[0] allow-attribute"),
  tenant(
    "a reserved attribute allowed",
    { allow: { attributes: ["a", "sme_tenant_id"] } },
    "spec.allow.attributes[1] allow-attribute-reserved",
  ),
  tenant(
    "a pattern for domains",
    { allow: { emailDomains: ["*.example.com"] } },
    "spec.allow.emailDomains[0] allow-email-domain",
  ),
  tenant(
    "a domain in capitals",
    { allow: { emailDomains: ["Example.com"] } },
    "spec.allow.emailDomains[0] allow-email-domain",
  ),
  tenant(
    "a domain with an @",
    { allow: { emailDomains: ["@example.com"] } },
    "spec.allow.emailDomains[0] allow-email-domain",
  ),
  tenant(
    "a pattern for Secrets",
    { allow: { secretPrefixes: ["llm-*"] } },
    "spec.allow.secretPrefixes[0] allow-secret-prefix",
  ),
  tenant(
    "a name with a space for metadata",
    { allow: { secretMetadata: ["a b"] } },
    "spec.allow.secretMetadata[0] allow-secret-metadata",
  ),
  tenant(
    "our own label allowed",
    { allow: { secretMetadata: ["catalyst.openova.io/sme-tenant"] } },
    "spec.allow.secretMetadata[0] allow-secret-metadata-reserved",
  ),
];

export const cases: readonly Case[] = [...emails, ...users, ...tenants];

/** Changes of a living Tenant: the rules that compare. */
export const changes: readonly { name: string; before: Case; after: Case; verdict: readonly string[] }[] = [
  {
    name: "another tenantID",
    before: tenant("before", {}),
    after: tenant("after", { tenantID: "other" }),
    verdict: ["spec.tenantID tenant-id-immutable"],
  },
  {
    name: "another grace",
    before: tenant("before", {}),
    after: tenant("after", { deletionGrace: "1h" }),
    verdict: [],
  },
];
