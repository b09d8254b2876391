/** Flux's objects in a tenant's namespaces: do they apply the repository, as the tenant, and harm nobody by accident. */
import * as z from "zod";

import { applierRisks } from "../../api/appliers.ts";
import { API_VERSION, condition, KINDS } from "../../api/meta.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { type AnyObject, type ClusterClient, Refused } from "../cluster.ts";
import { gitSecret } from "./commands.ts";
import { type CheckFinding, finding } from "./findings.ts";
import { pathSegment } from "../../lib/ids.ts";
import { shell } from "../../lib/shell.ts";
import { plainText } from "../../lib/text.ts";

export const kustomizationsIn = (namespace: string): string =>
  `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${pathSegment(namespace)}/kustomizations`;
export const repositoriesIn = (namespace: string): string =>
  `/apis/source.toolkit.fluxcd.io/v1/namespaces/${pathSegment(namespace)}/gitrepositories`;

const status = z.looseObject({ conditions: z.array(condition).default([]) }).prefault({});
const kustomization = z.looseObject({
  spec: z.looseObject({
    suspend: z.boolean().default(false),
    force: z.boolean().default(false),
    prune: z.boolean().default(false),
    wait: z.boolean().default(false),
    deletionPolicy: z.string().default("MirrorPrune"),
    serviceAccountName: z.string().default(""),
  }),
  status,
});
const repository = z.looseObject({
  spec: z.looseObject({ secretRef: z.looseObject({ name: z.string() }).optional() }),
  status,
});

export async function checkFlux(cluster: ClusterClient, { namespaces }: TenantSpec): Promise<readonly CheckFinding[]> {
  return (await Promise.all(namespaces.map((namespace) => checkNamespace(cluster, namespace)))).flat();
}

async function checkNamespace(cluster: ClusterClient, namespace: string): Promise<readonly CheckFinding[]> {
  try {
    const [kustomizations, repositories, people] = await Promise.all([
      cluster.list(kustomizationsIn(namespace)),
      cluster.list(repositoriesIn(namespace)),
      cluster.list(`/apis/${API_VERSION}/namespaces/${pathSegment(namespace)}/${KINDS.TenantUser.plural}`),
    ]);
    const endangered = people.flatMap((each) => ofPerson(namespace, each));
    if (kustomizations.length === 0) {
      const message = `No Kustomization of Flux is in namespace ${namespace}: nothing applies the tenant's repository, unless another tool does.`;
      return [advice(message, []), ...endangered];
    }
    return [
      ...endangered,
      ...repositories.flatMap((each) => ofRepository(namespace, each)),
      ...kustomizations.flatMap((each) => ofKustomization(namespace, each)),
    ];
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [finding("Flux", "unknown", `Namespace ${namespace}: ${error.message}`)];
  }
}

/**
 * Pure: what has Flux, Argo CD or Helm treat one person otherwise. On the live object, for Flux goes by that too: whoever
 * may annotate people in the namespace can set it past Git.
 */
export function ofPerson(namespace: string, { metadata }: AnyObject): readonly CheckFinding[] {
  return applierRisks(metadata).map(({ field, name, deletes, message }) => {
    const verb = field === "labels" ? "label" : "annotate";
    const fix = shell`kubectl -n ${namespace} ${verb} tenantuser ${metadata.name} ${`${name}-`}`;
    const text = `TenantUser ${namespace}/${metadata.name}: metadata.${field}[${name}] ${message}.`;
    return deletes ? missing(text, [fix]) : advice(text, [fix]);
  });
}

/** Pure: what is wrong with one GitRepository. */
export function ofRepository(namespace: string, object: AnyObject): readonly CheckFinding[] {
  const { spec, status: current } = repository.parse(object);
  const ready = current.conditions.find(({ type }) => type === "Ready");
  if (ready?.status !== "False") return [];
  const credentials = spec.secretRef === undefined ? [] : [gitSecret(namespace, spec.secretRef.name)];
  return [missing(`GitRepository ${namespace}/${object.metadata.name}: ${oneLine(ready.message)}`, credentials)];
}

/** Pure: what is wrong with one Kustomization. */
export function ofKustomization(namespace: string, object: AnyObject): readonly CheckFinding[] {
  const { spec, status: current } = kustomization.parse(object);
  const what = `Kustomization ${namespace}/${object.metadata.name}`;
  const set = (value: string): readonly string[] => [
    shell`kubectl -n ${namespace} patch kustomization.kustomize.toolkit.fluxcd.io ${object.metadata.name} --type merge -p ${`{"spec":{${value}}}`}`,
  ];
  const findings: CheckFinding[] = [];
  if (spec.force) {
    const message = `${what} has force: true: a refused manifest would delete the person whom it is about; set it to false.`;
    findings.push(missing(message, set('"force":false')));
  }
  if (spec.serviceAccountName === "") {
    const message = `${what} names no ServiceAccount: the tenant's files are applied with Flux's own rights, over the whole cluster.`;
    findings.push(missing(message, set('"serviceAccountName":"flux-tenant"')));
  }
  if (spec.suspend) findings.push(advice(`${what} is suspended: commits have no effect.`, set('"suspend":false')));
  if (!spec.prune) findings.push(advice(`${what} does not prune: a removed file removes nobody.`, set('"prune":true')));
  if (!spec.wait) {
    findings.push(advice(`${what} does not wait: it is Ready before the people are.`, set('"wait":true')));
  }
  if (spec.prune && spec.deletionPolicy !== "Orphan") {
    const message = `${what} would delete everybody when it is deleted itself; set deletionPolicy to Orphan.`;
    findings.push(advice(message, set('"deletionPolicy":"Orphan"')));
  }
  const ready = current.conditions.find(({ type }) => type === "Ready");
  if (ready?.status === "False" && ready.reason !== "Progressing") {
    const people = shell`kubectl -n ${namespace} get tenantusers -o wide`;
    findings.push(missing(`${what}: ${oneLine(ready.message)}`, [people]));
  }
  return findings;
}

const oneLine = (text: string): string =>
  plainText(
    text
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .join(" "),
  );
const missing = (message: string, fix: readonly string[]) => finding("Flux", "missing", message, fix);
const advice = (message: string, fix: readonly string[]) => finding("Flux", "advice", message, fix);
