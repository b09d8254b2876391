/** What the API server wants of every kind's metadata. It is not ours, so it stands here and not in src/api. */
import { type JSONObject, isObject } from "../../lib/json.ts";
import { DNS_LABEL, DNS_SUBDOMAIN, LABEL_VALUE } from "../../api/rules/patterns.ts";
import type { Violation } from "../../api/validate.ts";

const FIELDS = [
  "name",
  "generateName",
  "namespace",
  "labels",
  "annotations",
  "finalizers",
  "ownerReferences",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
  "managedFields",
];
/** A manifest that carries one of them was copied from a cluster; applied, it is refused or conflicts. */
const OF_ONE_CLUSTER = ["uid", "resourceVersion", "managedFields"];
const LARGEST_ANNOTATIONS = 256 * 1024;

const subdomain = new RegExp(DNS_SUBDOMAIN, "u");
const label = new RegExp(DNS_LABEL, "u");
const labelValue = new RegExp(LABEL_VALUE, "u");
const NAME_PART = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/u;

/** The fields that a person may write. */
export const METADATA_FIELDS: readonly string[] = ["name", "namespace", "labels", "annotations"];

/** What is wrong with `metadata`; empty when nothing is. Pure and total. */
export function checkMetadata(metadata: unknown, scope: "Namespaced" | "Cluster"): Violation[] {
  if (metadata === undefined || metadata === null) {
    return [{ path: "metadata.name", rule: "required", message: "is required" }];
  }
  if (!isObject(metadata)) return [{ path: "metadata", rule: "type", message: "must be an object" }];
  const found: Violation[] = [];
  const say = (path: string, rule: string, message: string) => found.push({ path, rule, message });

  for (const field of Object.keys(metadata)) {
    if (!FIELDS.includes(field)) say(`metadata.${field}`, "unknown", "is no field of metadata");
    else if (OF_ONE_CLUSTER.includes(field) && metadata[field] !== null) {
      say(`metadata.${field}`, "metadata-cluster", "is written by the API server; leave it out");
    }
  }
  found.push(...checkName(metadata));
  const { namespace } = metadata;
  if (namespace !== undefined && namespace !== null) {
    if (typeof namespace !== "string") say("metadata.namespace", "type", "must be text");
    else if (scope === "Cluster") {
      say("metadata.namespace", "metadata-namespace", "must not be set: a Tenant is in no namespace");
    } else if (!label.test(namespace))
      say("metadata.namespace", "metadata-namespace", "must be the name of a namespace");
  }
  for (const [path, value] of texts(metadata, "labels", found)) {
    if (!labelValue.test(value)) {
      say(
        path,
        "metadata-labels",
        "must be a value that Kubernetes takes for a label: at most 63 letters, digits, hyphens, underscores and dots",
      );
    }
  }
  let size = 0;
  for (const [path, value] of texts(metadata, "annotations", found)) size += Buffer.byteLength(path + value);
  if (size > LARGEST_ANNOTATIONS)
    say("metadata.annotations", "metadata-annotations", "must not be larger than 256 KiB");
  found.push(...checkFinalizers(metadata["finalizers"]));
  return found;
}

function checkName({ name }: JSONObject): Violation[] {
  const path = "metadata.name";
  if (name === undefined || name === null || name === "") return [{ path, rule: "required", message: "is required" }];
  if (typeof name !== "string") return [{ path, rule: "type", message: "must be text" }];
  if (name.length <= 253 && subdomain.test(name)) return [];
  return [
    {
      path,
      rule: "metadata-name",
      message: "must be a name that Kubernetes takes: lower-case letters, digits, hyphens and dots, at most 253",
    },
  ];
}

/** The entries of a map of texts whose names are well and whose values are texts; what is not goes into `found`. */
function texts(
  metadata: JSONObject,
  field: "labels" | "annotations",
  found: Violation[],
): [path: string, value: string][] {
  const map = metadata[field];
  if (map === undefined || map === null) return [];
  const at = `metadata.${field}`;
  if (!isObject(map)) {
    found.push({ path: at, rule: "type", message: "must be an object" });
    return [];
  }
  const entries: [string, string][] = [];
  for (const [name, value] of Object.entries(map)) {
    const path = `${at}[${name}]`;
    if (!isQualified(field === "annotations" ? name.toLowerCase() : name)) {
      found.push({
        path,
        rule: `metadata-${field}`,
        message: `must have a name that Kubernetes takes for ${field}, such as team or example.com/team`,
      });
    }
    // The API server takes null for an empty text.
    if (typeof value === "string" || value === null) entries.push([path, value ?? ""]);
    else found.push({ path, rule: "type", message: "must be text" });
  }
  return entries;
}

function checkFinalizers(finalizers: unknown): Violation[] {
  if (finalizers === undefined || finalizers === null) return [];
  const path = "metadata.finalizers";
  if (!Array.isArray(finalizers)) return [{ path, rule: "type", message: "must be a list" }];
  const all: readonly unknown[] = finalizers;
  return all.flatMap((each, index): Violation[] => {
    const at = `${path}[${index}]`;
    if (typeof each !== "string") return [{ path: at, rule: "type", message: "must be text" }];
    return isQualified(each)
      ? []
      : [{ path: at, rule: "metadata-finalizers", message: "must be a name such as example.com/finalizer" }];
  });
}

function isQualified(name: string): boolean {
  const [first = "", second, ...more] = name.split("/");
  if (more.length > 0) return false;
  if (second === undefined) return NAME_PART.test(first);
  return first.length <= 253 && subdomain.test(first) && NAME_PART.test(second);
}
