/** kubectl for what needs no cluster, such as `kubectl kustomize`. */
import { findProgram } from "./found.ts";
import { goParts, obtainGoPart } from "./go.ts";

/** The path of a fitting kubectl: one on this machine, else that of the stack, which is built the first time. */
export async function obtainKubectl(): Promise<string> {
  const found = findProgram("kubectl");
  if (found !== undefined) return found;
  const part = goParts.find(({ name }) => name === "kubernetes");
  if (part === undefined) throw new Error("no part is named kubernetes");
  const kubectl = (await obtainGoPart(part, () => {})).programs.get("kubectl");
  if (kubectl === undefined) throw new Error("the part kubernetes has no program kubectl");
  return kubectl;
}
