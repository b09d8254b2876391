/** The reference page: every field with its type, default, description, limits and rules. */
import { crd } from "./crd.ts";
import {
  ANNOTATION_REQUESTED_AT,
  ANNOTATION_ROTATE_REQUESTED_AT,
  API_VERSION,
  FINALIZER,
  LABEL_MANAGED_BY,
  LABEL_TENANT,
  LABEL_USER_UUID,
  type Kind,
} from "./meta.ts";
import { CONDITION_MEANINGS, REASONS } from "./reasons.ts";
import { rulesOf } from "./rules/index.ts";
import { actorOf } from "./reasonPages.ts";
import { schemas, type Structural } from "./schema.ts";

const EXAMPLES: Readonly<Record<Kind, string>> = {
  TenantUser: `apiVersion: ${API_VERSION}
kind: TenantUser
metadata:
  name: ada
spec:
  email: ada@example.com`,
  Tenant: `apiVersion: ${API_VERSION}
kind: Tenant
metadata:
  name: acme
spec:
  tenantID: acme
  namespaces: [tenant-acme]
  keycloak:
    url: https://keycloak.example.com
    realm: acme
    credentialsSecretName: acme-keycloak
  newapi:
    url: https://gateway.example.com
    credentialsSecretName: acme-newapi
  allow:
    emailDomains: [example.com]`,
};

export function reference(): string {
  return [
    "<!-- Generated from src/api by `npm run generate`. Do not edit. -->",
    "# API reference",
    `Group and version: \`${API_VERSION}\`. \`kubectl explain tenantuser.spec\` says the same. Fields without a default may be absent unless they are required.`,
    kindSection("TenantUser"),
    kindSection("Tenant"),
    "## Labels, annotations, finalizer",
    table(
      ["Name", "Where", "Meaning"],
      [
        [LABEL_TENANT, "TenantUser, Secret", "The tenant's id. On a TenantUser it is for people: nothing reads it."],
        [LABEL_USER_UUID, "Secret", "The person's uuid."],
        [LABEL_MANAGED_BY, "Secret", "`unified-rbac`."],
        [ANNOTATION_REQUESTED_AT, "TenantUser", "A new value means: now, and retry what failed."],
        [ANNOTATION_ROTATE_REQUESTED_AT, "TenantUser", "A new value rotates the key once, without a commit."],
        [FINALIZER, "TenantUser, Tenant", "Finalizer: holds the object until what it caused is undone."],
      ].map(([name, ...rest]) => [`\`${name}\``, ...rest]),
    ),
    "## Types of conditions",
    table(
      ["Type", "Meaning"],
      Object.entries(CONDITION_MEANINGS).map(([type, meaning]) => [`\`${type}\``, meaning]),
    ),
    "## Reasons",
    "Conditions, Events and metrics use the same words. The [runbook](runbook.md) says how to fix each.",
    table(
      ["Reason", "Meaning", "Who acts"],
      Object.entries(REASONS).map(([reason, entry]) => [
        `[${reason}](runbook.md#${reason.toLowerCase()})`,
        entry.meaning,
        actorOf(entry),
      ]),
    ),
  ]
    .join("\n\n")
    .concat("\n");
}

function kindSection(kind: Kind): string {
  const root = schemas[kind];
  const { names, scope, versions } = crd(kind).spec;
  const columns = (versions[0]?.additionalPrinterColumns ?? []).map(({ name, description, priority }) => [
    name.toUpperCase(),
    `${description}${priority ? " Only with `-o wide`." : ""}`,
  ]);
  return [
    `## ${kind}`,
    root.description,
    `${scope === "Cluster" ? "Cluster-scoped" : "Namespaced"}; \`kubectl get ${names.plural}\`, short \`${names.shortNames.join(", ")}\`.`,
    `\`\`\`yaml\n${EXAMPLES[kind]}\n\`\`\``,
    ...objectSections(kind, root.properties?.["spec"], "spec"),
    ...objectSections(kind, root.properties?.["status"], "status"),
    `### ${kind}: columns of kubectl get`,
    table(["Column", "Shows"], columns),
  ].join("\n\n");
}

/** One section for the object at `path`, then one for each object in it. */
function objectSections(kind: Kind, node: Structural | undefined, path: string): string[] {
  if (!node?.properties) return [];
  const rows = Object.entries(node.properties).map(([name, child]) => {
    const required = node.required?.includes(name) ? "required" : "";
    const byDefault = child.default === undefined ? required : `\`${JSON.stringify(child.default)}\``;
    return [`\`${name}\``, typeOf(child), byDefault, describe(kind, child, `${path}.${name}`)];
  });
  const inner = Object.entries(node.properties).flatMap(([name, child]) =>
    child.type === "array"
      ? objectSections(kind, child.items, `${path}.${name}[*]`)
      : objectSections(kind, child, `${path}.${name}`),
  );
  const own = sentences(kind, path);
  return [
    `### ${kind}: ${path}`,
    [node.description, ...own].filter(Boolean).join(" "),
    table(["Field", "Type", "Default", "Meaning"], rows),
    ...inner,
  ];
}

function typeOf({ type, format, items, additionalProperties }: Structural): string {
  if (items) return `list of ${typeOf(items)}`;
  if (additionalProperties) return `map to ${typeOf(additionalProperties)}`;
  return format === "date-time" ? "time" : type;
}

function describe(kind: Kind, node: Structural, path: string): string {
  return [
    node.description,
    ...limits(node),
    ...(node.properties ? [`See ${path}.`] : sentences(kind, path)),
    ...(node.items && !node.items.properties
      ? [...limits(node.items, "Each: "), ...sentences(kind, `${path}[*]`, "Each ")]
      : []),
    ...(node.additionalProperties
      ? [...limits(node.additionalProperties, "Each value: "), ...sentences(kind, `${path}[*]`, "Each value ")]
      : []),
  ].join(" ");
}

function limits(node: Structural, lead = ""): string[] {
  const said: string[] = [];
  if (node.enum) said.push(`one of ${node.enum.map((value) => `\`${value}\``).join(", ")}`);
  if (node.maxLength !== undefined) said.push(`at most ${node.maxLength} characters`);
  if (node.minimum !== undefined) said.push(`at least ${node.minimum}`);
  if (node.maximum !== undefined && node.maximum !== Number.MAX_SAFE_INTEGER) said.push(`at most ${node.maximum}`);
  if (node.maxItems !== undefined) said.push(`at most ${node.maxItems} items`);
  if (node["x-kubernetes-list-type"] === "set") said.push("none twice");
  if (node.maxProperties !== undefined) said.push(`at most ${node.maxProperties} entries`);
  if (said.length === 0) return [];
  const text = said.join("; ");
  return [`${lead === "" ? text[0]?.toUpperCase() + text.slice(1) : lead + text}.`];
}

function sentences(kind: Kind, path: string, lead = "It "): string[] {
  return rulesOf(kind)
    .filter((rule) => rule.path === path)
    .map(({ message }) => `${lead}${message}.`);
}

const tableRow = (cells: readonly (string | undefined)[]) =>
  `| ${cells.map((cell = "") => cell.replaceAll(/[|*<]/gu, String.raw`\$&`)).join(" | ")} |`;

export function table(head: readonly string[], rows: readonly (readonly (string | undefined)[])[]): string {
  return [tableRow(head), tableRow(head.map(() => "---")), ...rows.map(tableRow)].join("\n");
}
