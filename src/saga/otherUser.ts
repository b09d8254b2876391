/** How a sentence that somebody reads in one namespace speaks of an object that may be in another one. */
interface ObjectPlace {
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

/**
 * By its name only in the reader's own namespace: who is in another one, even of the same tenant, is nothing that an
 * object, a warning or an Event here may tell.
 */
export function otherUser(reader: string | undefined, other: ObjectPlace): string {
  return isHere(reader, other) ? `TenantUser ${other.name}` : "a TenantUser in another namespace of this tenant";
}

export function isHere(reader: string | undefined, other: ObjectPlace): boolean {
  return reader !== undefined && other.namespace === reader && other.name !== undefined;
}
