/** The CustomResourceDefinitions of both kinds. */
import { GROUP, KINDS, VERSION, type Kind } from "./meta.ts";
import { schemas, type Structural } from "./schema.ts";

export interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority?: 1;
}

export interface CustomResourceDefinition {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "CustomResourceDefinition";
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly group: string;
    readonly scope: "Namespaced" | "Cluster";
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
      readonly categories: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: true;
      readonly storage: true;
      readonly subresources: { readonly status: Readonly<Record<string, never>> };
      readonly additionalPrinterColumns: readonly PrinterColumn[];
      readonly selectableFields?: readonly { readonly jsonPath: string }[];
      readonly schema: { readonly openAPIV3Schema: Structural };
    }[];
  };
}

const ready = (field: "status" | "reason" | "message") => `.status.conditions[?(@.type=="Ready")].${field}`;

const age: PrinterColumn = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Since when the object is there.",
};

/** What `kubectl get tenantusers` shows: the user's window. */
export const TENANT_USER_COLUMNS: readonly PrinterColumn[] = [
  { name: "Email", type: "string", jsonPath: ".spec.email", description: "The person's address." },
  { name: "State", type: "string", jsonPath: ".status.state", description: "How far the saga has come." },
  { name: "Ready", type: "string", jsonPath: ready("status"), description: "Whether all is as the spec says." },
  { name: "Reason", type: "string", jsonPath: ready("reason"), description: "Why it is ready, or not." },
  age,
  { name: "UUID", type: "string", jsonPath: ".status.userUUID", description: "The person's uuid.", priority: 1 },
  {
    name: "Keycloak",
    type: "string",
    jsonPath: ".status.keycloak.userID",
    description: "The id of the Keycloak user.",
    priority: 1,
  },
  {
    name: "NewAPI",
    type: "string",
    jsonPath: ".status.newapi.userID",
    description: "The id of the gateway's account.",
    priority: 1,
  },
  {
    name: "Secret",
    type: "string",
    jsonPath: ".status.secretName",
    description: "The Secret that holds the API key.",
    priority: 1,
  },
  {
    name: "Retries",
    type: "integer",
    jsonPath: ".status.retryCount",
    description: "Failed attempts in a row.",
    priority: 1,
  },
  {
    name: "Message",
    type: "string",
    jsonPath: ready("message"),
    description: "What happened, and what to do.",
    priority: 1,
  },
];

export const TENANT_COLUMNS: readonly PrinterColumn[] = [
  { name: "TenantID", type: "string", jsonPath: ".spec.tenantID", description: "The tenant's id." },
  { name: "Ready", type: "string", jsonPath: ready("status"), description: "Whether users can be served." },
  { name: "Reason", type: "string", jsonPath: ready("reason"), description: "Why it is ready, or not." },
  { name: "Users", type: "integer", jsonPath: ".status.users.total", description: "Living TenantUsers." },
  age,
  { name: "Realm", type: "string", jsonPath: ".spec.keycloak.realm", description: "Its Keycloak realm.", priority: 1 },
  { name: "Gateway", type: "string", jsonPath: ".spec.newapi.url", description: "Its LLM gateway.", priority: 1 },
  {
    name: "Message",
    type: "string",
    jsonPath: ready("message"),
    description: "What happened, and what to do.",
    priority: 1,
  },
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

export function crd(kind: Kind): CustomResourceDefinition {
  const { plural, singular, listKind } = KINDS[kind];
  const { scope, shortNames, columns, selectable } = SHAPE[kind];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}`, labels: { "app.kubernetes.io/part-of": "unified-rbac" } },
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
