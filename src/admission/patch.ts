/** The only place that knows fast-json-patch: of all it can do, the difference of two values. */
import jsonPatch from "fast-json-patch";

/** An operation of RFC 6902, as far as a difference needs them. */
export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** What makes `after` of `before`. Give it the parts that may differ, not whole objects: it walks all of both. */
export function difference(before: object, after: object): PatchOperation[] {
  return jsonPatch.compare(before, after).map((operation): PatchOperation => {
    const { op, path } = operation;
    if (op === "add" || op === "replace") return { op, path, value: operation.value as unknown };
    if (op === "remove") return { op, path };
    throw new Error(`a difference has no operation ${op}`);
  });
}
