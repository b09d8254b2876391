/** The CustomResourceDefinitions of both kinds. */
import { GROUP, KINDS, VERSION, type Kind } from "./meta.ts";
import { schemas } from "./schema.ts";

interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority?: 1;
}

const column = (name: string, jsonPath: string, description: string, type: PrinterColumn["type"] = "string") => ({
  name,
  type,
  jsonPath,
  description,
});
const wide = (...given: Parameters<typeof column>): PrinterColumn => ({ ...column(...given), priority: 1 });

const ready = (field: "status" | "reason" | "message") => `.status.conditions[?(@.type=="Ready")].${field}`;
const age = column("Age", ".metadata.creationTimestamp", "Since when the object is there.", "date");
const message = wide("Message", ready("message"), "What happened, and what to do.");

/** What `kubectl get tenantusers` shows: the user's window. */
const TENANT_USER_COLUMNS: readonly PrinterColumn[] = [
  column("Email", ".spec.email", "The person's address."),
  column("State", ".status.state", "How far the saga has come."),
  column("Ready", ready("status"), "Whether all is as the spec says."),
  column("Reason", ready("reason"), "Why it is ready, or not."),
  age,
  wide("UUID", ".status.userUUID", "The person's uuid."),
  wide("Keycloak", ".status.keycloak.userID", "The id of the Keycloak user."),
  wide("NewAPI", ".status.newapi.userID", "The id of the gateway's account."),
  wide("Secret", ".status.secretName", "The Secret that holds the API key."),
  wide("Retries", ".status.retryCount", "Failed attempts in a row.", "integer"),
  message,
];

const TENANT_COLUMNS: readonly PrinterColumn[] = [
  column("TenantID", ".spec.tenantID", "The tenant's id."),
  column("Ready", ready("status"), "Whether users can be served."),
  column("Reason", ready("reason"), "Why it is ready, or not."),
  column("Users", ".status.users.total", "Living TenantUsers.", "integer"),
  age,
  wide("Realm", ".spec.keycloak.realm", "Its Keycloak realm."),
  wide("Gateway", ".spec.newapi.url", "Its LLM gateway."),
  message,
];

const SHAPE = {
  TenantUser: {
    scope: "Namespaced",
    shortNames: ["tu"],
    columns: TENANT_USER_COLUMNS,
    // For `kubectl get tu -A --field-selector status.state=failed`.
    selectable: [".spec.email", ".status.state", ".status.userUUID"],
  },
  Tenant: { scope: "Cluster", shortNames: ["tnt"], columns: TENANT_COLUMNS, selectable: [".spec.tenantID"] },
} as const;

/** Those that hold in every version: with a version's, the definitions would change with each release. */
const LABELS = {
  "app.kubernetes.io/name": "unified-rbac",
  "app.kubernetes.io/component": "crds",
  "app.kubernetes.io/part-of": "unified-rbac",
} as const;

export function crd(kind: Kind) {
  const { plural, singular, listKind } = KINDS[kind];
  const { scope, shortNames, columns, selectable } = SHAPE[kind];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}`, labels: LABELS },
    spec: {
      group: GROUP,
      scope,
      names: { kind, listKind, plural, singular, shortNames, categories: ["catalyst"] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          selectableFields: selectable.map((jsonPath) => ({ jsonPath })),
          schema: { openAPIV3Schema: schemas[kind] },
        },
      ],
    },
  };
}
