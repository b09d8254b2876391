/** Names that are computed, never looked up: the same input gives the same name on every replica and after every loss. */
import { hash } from "node:crypto";
import { DNS_LABEL, UUID } from "./rules/patterns.ts";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** The uuid of one person's saga: also the mark on its accounts and the name of its Secret. Lower case. */
export type SagaUUID = Branded<"SagaUUID">;
/** `spec.tenantID` of a Tenant: a DNS label. */
export type TenantID = Branded<"TenantID">;

/** The namespace of every uuid we derive. Changing it would make new people of everybody. */
export const NS = "6f1c7e5a-3f0e-5c0b-9d43-8a2b6c1e7d90";

const ANY_UUID = new RegExp(UUID, "u");
const VERSION_4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u;
const TENANT_ID = new RegExp(DNS_LABEL, "u");

/** Whether the text is a uuid of any version, in lower case. */
export function isUUID(text: string): text is SagaUUID {
  return ANY_UUID.test(text);
}

/** Whether the text is a version-4 uuid in lower case: what a tenant may pin for a new person. */
export function isUUIDv4(text: string): text is SagaUUID {
  return VERSION_4.test(text);
}

/** Whether the text can be a tenant's id. */
export function isTenantID(text: string): text is TenantID {
  return TENANT_ID.test(text);
}

/** Takes a uuid from outside (a row, a mark). Throws on anything else. */
export function sagaUUID(text: string): SagaUUID {
  if (!isUUID(text)) throw new TypeError(`not a uuid: ${JSON.stringify(text)}`);
  return text;
}

/** Takes a tenant's id from outside. Throws on anything else. */
export function tenantID(text: string): TenantID {
  if (!isTenantID(text)) throw new TypeError(`not a tenant id: ${JSON.stringify(text)}`);
  return text;
}

/**
 * The one form of an address that rows, uniqueness and upstreams use: trimmed, in lower case.
 * Addresses are ASCII by rule, so this agrees with Postgres and Keycloak in every locale.
 */
export function canonicalEmail(email: string): string {
  return email.trim().toLowerCase();
}

/** A name-based uuid (RFC 9562, version 5). */
export function uuidV5(namespace: string, name: string): SagaUUID {
  const named = Buffer.concat([Buffer.from(namespace.replaceAll("-", ""), "hex"), Buffer.from(name, "utf8")]);
  const bytes = hash("sha1", named, "buffer").subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return sagaUUID([hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-"));
}

/** How many people after one another an address is thought to have had. */
const MOST_NAMESAKES = 9;

/** The uuids that people of this tenant can have got by this address, in their order. */
export function derivedUUIDs(tenantID: string, email: string): string[] {
  return Array.from({ length: MOST_NAMESAKES }, (_, index) =>
    candidateUUID(tenantID, email, index === 0 ? undefined : index + 1),
  );
}

/**
 * The uuid that a person gets where nothing else decides. `n` (2, 3, ...) is given only when the plain one belongs to a
 * person who has another address by now.
 */
export function candidateUUID(tenant: TenantID | string, email: string, n?: number): SagaUUID {
  return uuidV5(NS, `${tenant}/${canonicalEmail(email)}${n === undefined ? "" : `/${n}`}`);
}

/** "sme-users" and "/sme-users" are the same group. */
export function groupPath(pathOrName: string): string {
  return pathOrName.startsWith("/") ? pathOrName : `/${pathOrName}`;
}

/** The names along a group's path, from the top: a slash inside a name is written `~/`, as Keycloak can be told to. */
export function groupNames(pathOrName: string): string[] {
  return pathOrName
    .split(/(?<!~)\//u)
    .filter((name) => name !== "")
    .map((name) => name.replaceAll("~/", "/"));
}

/** Every Secret name of ours begins with this, unless the Tenant allows other prefixes. */
export const SECRET_PREFIX = "newapi-key-";

/** The Secret's name where `spec.secret.name` says nothing else. */
export function secretName(uuid: SagaUUID): string {
  return `${SECRET_PREFIX}${uuid}`;
}
