/** Who may change what: a field that Git's manager owns is changed in Git, or it would be changed back. Pure. */
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, API_VERSION, FIELD_MANAGER } from "../api/meta.ts";
import type { ManagedField, UserView } from "./userView.ts";
import { isObject } from "../lib/json.ts";

/** Must not begin with "kubectl": Flux takes the fields of such managers away. */
export const CLI_MANAGER = "tenantuser-cli";

/** Everything that the plugin ever writes. */
export const FIELDS = ["requestedAt", "rotateRequestedAt", "suspend"] as const;
export type Field = (typeof FIELDS)[number];

export interface Wish {
  readonly field: Field;
  /** false for `suspend`: it is not to hold any more. */
  readonly value: string | boolean;
}

export type Plan =
  /** It is so already. */
  | { readonly kind: "nothing" }
  /** Server-side apply of this; `force` only takes over what somebody changed by hand. */
  | { readonly kind: "apply"; readonly body: object; readonly force: boolean }
  /** `manager` applies this field from somewhere: it is for whoever writes there. */
  | { readonly kind: "git"; readonly manager: string; readonly path: string; readonly lines: string };

const ANNOTATION = {
  requestedAt: ANNOTATION_REQUESTED_AT,
  rotateRequestedAt: ANNOTATION_ROTATE_REQUESTED_AT,
} as const;

/** Changes made at a terminal: nobody writes them again by itself. */
const BY_HAND = /^kubectl-(annotate|create|edit|label|patch|replace)$/;

/** What becomes of a wish, by who owns the field in the object as it is. */
export function plan(of: UserView, wish: Wish): Plan {
  const { field, value } = wish;
  if (field === "suspend" && of.spec.suspend === value) return { kind: "nothing" };
  // What a hand has set under the plugin's name (kubectl annotate --field-manager) is another entry than what it applied.
  const entries = of.metadata.managedFields.filter(
    ({ manager, operation }) => manager !== CLI_MANAGER || operation !== "Apply",
  );
  const others = ownersOf(entries, field);
  const git = others.find((manager) => manager !== CLI_MANAGER && !BY_HAND.test(manager));
  if (git !== undefined) return { kind: "git", manager: git, path: pathOf(field), lines: linesFor(wish) };
  return { kind: "apply", body: bodyFor(of, wish, others.length > 0), force: others.length > 0 };
}

/** Every manager that owns the field, but the service itself. */
export function ownersOf(managedFields: readonly ManagedField[], field: Field): string[] {
  const steps =
    field === "suspend" ? ["f:spec", "f:suspend"] : ["f:metadata", "f:annotations", `f:${ANNOTATION[field]}`];
  const owning = managedFields.filter(({ manager, subresource, fieldsV1 }) => {
    if (manager === FIELD_MANAGER || subresource !== undefined) return false;
    let node: unknown = fieldsV1;
    for (const step of steps) node = isObject(node) && Object.hasOwn(node, step) ? node[step] : undefined;
    return node !== undefined;
  });
  return [...new Set(owning.map(({ manager }) => manager))];
}

/** An apply says all that its manager wants: what the plugin wrote earlier is said again, or it would go. */
function bodyFor(of: UserView, wish: Wish, takenFromOthers: boolean): object {
  const { name, namespace, uid } = of.metadata;
  const annotations: Record<string, string> = {};
  let suspend: boolean | undefined;
  for (const field of FIELDS) {
    const mine = ownersOf(of.metadata.managedFields, field).includes(CLI_MANAGER);
    if (field === "suspend") {
      if (mine) suspend = of.spec.suspend;
    } else if (mine) {
      const value = of.metadata.annotations?.[ANNOTATION[field]];
      if (value !== undefined) annotations[ANNOTATION[field]] = value;
    }
  }
  if (wish.field !== "suspend") annotations[ANNOTATION[wish.field]] = String(wish.value);
  // What was ours alone need not be said any more: the default (false) comes back, and Git may say what it wants.
  else suspend = wish.value === true ? true : suspend === undefined || takenFromOthers ? false : undefined;
  return {
    apiVersion: API_VERSION,
    kind: "TenantUser",
    // The uid: another object of this name is not meant.
    metadata: { name, namespace, uid, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    ...(suspend === undefined ? {} : { spec: { suspend } }),
  };
}

function pathOf(field: Field): string {
  return field === "suspend" ? "spec.suspend" : `metadata.annotations[${ANNOTATION[field]}]`;
}

/** As it stands in the file. */
function linesFor({ field, value }: Wish): string {
  if (field === "suspend") return `spec:\n  suspend: ${String(value)}\n`;
  return `metadata:\n  annotations:\n    ${ANNOTATION[field]}: ${JSON.stringify(value)}\n`;
}
