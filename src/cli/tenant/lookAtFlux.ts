/** Flux's objects in a tenant's namespaces: do they apply the repository, as the tenant, and harm nobody by accident. */
import * as z from "zod";

import { condition } from "../../api/meta.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { type AnyObject, type ClusterClient, Refused } from "../cluster.ts";
import { gitSecret } from "./commands.ts";
import type { Finding } from "./findings.ts";

export const kustomizationsIn = (namespace: string): string =>
  `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${namespace}/kustomizations`;
export const repositoriesIn = (namespace: string): string =>
  `/apis/source.toolkit.fluxcd.io/v1/namespaces/${namespace}/gitrepositories`;

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

export async function lookAtFlux(cluster: ClusterClient, { namespaces }: TenantSpec): Promise<readonly Finding[]> {
  return (await Promise.all(namespaces.map((namespace) => lookAt(cluster, namespace)))).flat();
}

async function lookAt(cluster: ClusterClient, namespace: string): Promise<readonly Finding[]> {
  try {
    const [kustomizations, repositories] = await Promise.all([
      cluster.list(kustomizationsIn(namespace)),
      cluster.list(repositoriesIn(namespace)),
    ]);
    if (kustomizations.length === 0) {
      const message = `No Kustomization of Flux is in namespace ${namespace}: nothing applies the tenant's repository, unless another tool does.`;
      return [{ area: "Flux", level: "advice", message, mend: [] }];
    }
    return [
      ...repositories.flatMap((each) => ofRepository(namespace, each)),
      ...kustomizations.flatMap((each) => ofKustomization(namespace, each)),
    ];
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [{ area: "Flux", level: "unknown", message: `Namespace ${namespace}: ${error.message}`, mend: [] }];
  }
}

/** Pure: what is wrong with one GitRepository. */
export function ofRepository(namespace: string, object: AnyObject): readonly Finding[] {
  const { spec, status: said } = repository.parse(object);
  const ready = said.conditions.find(({ type }) => type === "Ready");
  if (ready?.status !== "False") return [];
  const mend = spec.secretRef === undefined ? [] : [gitSecret(namespace, spec.secretRef.name)];
  return [missing(`GitRepository ${namespace}/${object.metadata.name}: ${oneLine(ready.message)}`, mend)];
}

/** Pure: what is wrong with one Kustomization. */
export function ofKustomization(namespace: string, object: AnyObject): readonly Finding[] {
  const { spec, status: said } = kustomization.parse(object);
  const what = `Kustomization ${namespace}/${object.metadata.name}`;
  const set = (value: string): readonly string[] => [
    `kubectl -n ${namespace} patch kustomization.kustomize.toolkit.fluxcd.io ${object.metadata.name} --type merge -p '{"spec":{${value}}}'`,
  ];
  const findings: Finding[] = [];
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
  const ready = said.conditions.find(({ type }) => type === "Ready");
  if (ready?.status === "False" && ready.reason !== "Progressing") {
    const people = `kubectl -n ${namespace} get tenantusers -o wide`;
    findings.push(missing(`${what}: ${oneLine(ready.message)}`, [people]));
  }
  return findings;
}

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, " ");
const missing = (message: string, mend: readonly string[]): Finding => ({
  area: "Flux",
  level: "missing",
  message,
  mend,
});
const advice = (message: string, mend: readonly string[]): Finding => ({
  area: "Flux",
  level: "advice",
  message,
  mend,
});
