import { NS, uuidV5 } from "./names.ts";

/** The wire form of a life-cycle event on subject `sme.user.events`. */
export interface UserEvent {
  readonly id: string;
  readonly type:
    "sme.user.created" | "sme.user.updated" | "sme.user.key-rotated" | "sme.user.deleted" | "sme.user.failed";
  readonly source: "unified-rbac";
  /** RFC 3339, UTC. */
  readonly timestamp: string;
  readonly tenant_id: string;
  readonly data: {
    readonly sme_user_uuid: string;
    readonly email: string;
    readonly kc_user_id: string | null;
    readonly newapi_user_id: string | null;
    readonly secret_name: string | null;
  };
  readonly metadata: Readonly<Record<string, string>>;
}

/** What happened to whom; `n` tells this occurrence from others of its type (see {@link userEvent}). */
export interface Occurrence {
  readonly type: UserEvent["type"];
  readonly uuid: string;
  readonly tenantID: string;
  readonly email: string;
  readonly keycloakUserID: string | undefined;
  readonly newapiUserID: string | undefined;
  readonly secretName: string | undefined;
  /**
   * created: empty; key-rotated: the key generation; updated: object uid and metadata.generation; failed: object uid,
   * generation and time of the first failure; deleted: uid of the deleted object.
   */
  readonly n: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The event with its stable id: sent twice, it is the same event. */
export function userEvent(occurrence: Occurrence, now: Date): UserEvent {
  const { type, uuid, keycloakUserID, n } = occurrence;
  return {
    id: uuidV5(NS, `${uuid}/${keycloakUserID ?? ""}/${type}/${n}`),
    type,
    source: "unified-rbac",
    timestamp: now.toISOString(),
    tenant_id: occurrence.tenantID,
    data: {
      sme_user_uuid: uuid,
      email: occurrence.email,
      kc_user_id: keycloakUserID ?? null,
      newapi_user_id: occurrence.newapiUserID ?? null,
      secret_name: occurrence.secretName ?? null,
    },
    metadata: occurrence.metadata,
  };
}
