/**
 * Labels and annotations by which somebody tells Flux, Argo CD or Helm to treat one object otherwise, and what that makes
 * untrue of ours: that a typo deletes nobody, that Git is what holds, that a removed file removes its person. Pure.
 */

export interface ApplierRisk {
  readonly field: "labels" | "annotations";
  readonly name: string;
  /** true: a mistake in a manifest can delete the person. */
  readonly deletes: boolean;
  /** A sentence without its subject, which is the field. */
  readonly message: string;
}

const FLUX = "kustomize.toolkit.fluxcd.io";
const ARGOCD = "argocd.argoproj.io";
const HELM = "helm.sh";

interface ApplierRule {
  readonly name: string;
  readonly applies: (values: readonly string[]) => boolean;
  readonly deletes: boolean;
  readonly message: string;
}

const has =
  (...wanted: readonly string[]) =>
  (values: readonly string[]): boolean =>
    wanted.some((each) => values.includes(each));

/** Values are compared in lower case, as Flux does; what Argo CD reads as a list is taken apart. */
const RULES: readonly ApplierRule[] = [
  {
    name: `${FLUX}/force`,
    applies: has("enabled"),
    deletes: true,
    message:
      "has Flux delete the person and make them again when the API server refuses a change, so that a typo is a deletion; remove it",
  },
  {
    name: `${FLUX}/prune`,
    applies: has("disabled"),
    deletes: false,
    message:
      "has Flux leave the person where the file is removed: access ends only by kubectl delete; remove it, or say so with deletionPolicy",
  },
  {
    name: `${FLUX}/reconcile`,
    applies: has("disabled"),
    deletes: false,
    message: "has Flux pass the person over: neither an edit nor the removal of the file has any effect; remove it",
  },
  {
    name: `${FLUX}/ssa`,
    applies: has("ignore"),
    deletes: false,
    message: "has Flux pass the person over: neither an edit nor the removal of the file has any effect; remove it",
  },
  {
    name: `${FLUX}/ssa`,
    applies: has("ifnotpresent"),
    deletes: false,
    message: "has Flux make the person once and never change them: an edit in Git has no effect; remove it",
  },
  {
    name: `${FLUX}/ssa`,
    applies: has("merge"),
    deletes: false,
    message: "has Flux leave what others set: a field that is removed in Git may stay; remove it",
  },
  {
    name: `${ARGOCD}/sync-options`,
    applies: has("force=true"),
    deletes: true,
    message:
      "has Argo CD (Force=true) delete the person and make them again where a change is refused; remove that option",
  },
  {
    name: `${ARGOCD}/sync-options`,
    applies: has("replace=true"),
    deletes: true,
    message:
      "has Argo CD (Replace=true) replace the object, and with it what others wrote, and delete it where that is refused; remove that option",
  },
  {
    name: `${ARGOCD}/sync-options`,
    applies: has("prune=false", "delete=false"),
    deletes: false,
    message: "has Argo CD leave the person where the file is removed (Prune=false, Delete=false); remove that option",
  },
  {
    name: `${ARGOCD}/hook`,
    applies: (values) => values.some((value) => value !== "" && value !== "skip"),
    deletes: true,
    message: "makes a hook of the person, which Argo CD deletes and makes again at every sync; remove it",
  },
  {
    name: `${HELM}/hook`,
    applies: (values) => values.some((value) => value !== ""),
    deletes: true,
    message: "makes a hook of the person, which Helm deletes and makes again at every release; remove it",
  },
  {
    name: `${HELM}/resource-policy`,
    applies: has("keep"),
    deletes: false,
    message: "has Helm leave the person where the manifest is removed; remove it",
  },
];

/** Only Flux reads its settings from labels too. Anything may stand in `metadata`. */
export function applierRisks(metadata: unknown): ApplierRisk[] {
  return (["annotations", "labels"] as const).flatMap((field) => {
    const map = fieldOf(metadata, field);
    return RULES.flatMap(({ name, applies, deletes, message }): ApplierRisk[] => {
      if (field === "labels" && !name.startsWith(FLUX)) return [];
      const value = fieldOf(map, name);
      if (typeof value !== "string") return [];
      const values = value.slice(0, 1024).toLowerCase().split(",", 32);
      return applies(values.map((each) => each.trim())) ? [{ field, name, deletes, message }] : [];
    });
  });
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  const found: unknown = Reflect.get(value, name);
  return found;
}
