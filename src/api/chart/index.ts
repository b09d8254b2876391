/** Every generated file of the charts. */
import * as z from "zod";
import { toYAML } from "../../lib/yaml.ts";
import { crd } from "../crd.ts";
import { GROUP, KINDS, type Kind } from "../meta.ts";
import { valuesFile, valuesSchema, valuesTable } from "./files.ts";
import { chartValues, definitionValues } from "./values.ts";

/** What is read from the project to make them. */
export interface ChartSources {
  /** Of package.json: the charts and the image of one release have one version. */
  readonly version: string;
  /** Of manifests/monitoring: the templates read the same files. */
  readonly copies: readonly ChartFile[];
}

interface ChartFile {
  readonly path: string;
  readonly text: string;
}

const HEADER = "# Generated from src/api by `npm run generate`. Do not edit.\n";
const ALL_KINDS: readonly Kind[] = ["Tenant", "TenantUser"];

/** Both charts' Chart.yaml, values, schemas and copied objects, and the kustomization with the version. */
export function chartFiles({ version, copies }: ChartSources): ChartFile[] {
  const metadata = (name: string, description: string): ChartFile => ({
    path: `charts/${name}/Chart.yaml`,
    text: `${HEADER}${toYAML({
      apiVersion: "v2",
      name,
      description,
      type: "application",
      version,
      appVersion: version,
      kubeVersion: ">=1.30.0-0",
    })}`,
  });
  const values = (name: string, schema: z.ZodObject): ChartFile[] => [
    { path: `charts/${name}/values.yaml`, text: `${HEADER}${valuesFile(schema)}\n` },
    { path: `charts/${name}/values.schema.json`, text: `${JSON.stringify(valuesSchema(schema), undefined, 2)}\n` },
  ];
  return [
    metadata(
      "unified-rbac",
      "One YAML file in Git gives a person access: Keycloak user, LLM gateway key, Kubernetes Secret.",
    ),
    metadata(
      "unified-rbac-crds",
      "The definitions of Tenant and TenantUser. Helm keeps them when it uninstalls this chart.",
    ),
    ...values("unified-rbac", chartValues),
    ...values("unified-rbac-crds", definitionValues),
    ...ALL_KINDS.map((kind) => ({
      path: `charts/unified-rbac-crds/files/${GROUP}_${KINDS[kind].plural}.yaml`,
      text: `${HEADER}${toYAML(crd(kind))}`,
    })),
    ...copies.map(({ path, text }) => ({ path: `charts/unified-rbac/files/${path}`, text })),
    { path: "manifests/version/kustomization.yaml", text: `${HEADER}${kustomization(version)}` },
    { path: "docs/chart-values.md", text: page() },
  ];
}

function kustomization(version: string): string {
  const pairs = {
    "app.kubernetes.io/name": "unified-rbac",
    "app.kubernetes.io/instance": "unified-rbac",
    "app.kubernetes.io/version": version,
    "app.kubernetes.io/part-of": "unified-rbac",
    "app.kubernetes.io/managed-by": "kustomize",
  };
  return `# What changes with each release: the tag of the image and the label with the version.
${toYAML({
  apiVersion: "kustomize.config.k8s.io/v1alpha1",
  kind: "Component",
  labels: [{ pairs, includeTemplates: true }],
  images: [{ name: "unified-rbac", newTag: version }],
})}`;
}

function page(): string {
  return `<!-- Generated from src/api/chart by \`npm run generate\`. Do not edit. -->

# Values of the Helm charts

Helm refuses a value that is not in these tables: a misspelled name fails at once. \`helm show values\` prints the same
list as a file. For the installation, see [install.md](install.md#helm).

## unified-rbac

The names under \`settings\` are those of environment variables; [configuration.md](configuration.md) says what they mean.

${valuesTable(chartValues)}

## unified-rbac-crds

${valuesTable(definitionValues)}
`;
}
