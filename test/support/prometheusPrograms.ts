import { findProgram } from "../../stack/obtain/found.ts";
import { goParts, obtainGoPart } from "../../stack/obtain/go.ts";

/** Where prometheus and promtool are; built the first time, which takes some minutes. */
export async function prometheusPrograms(): Promise<{ readonly prometheus: string; readonly promtool: string }> {
  const part = goParts.find(({ name }) => name === "prometheus");
  if (part === undefined) throw new Error("there is no part prometheus");
  const { programs } = await obtainGoPart(part, () => {});
  const pathOf = (program: string): string => programs.get(program) ?? findProgram(program) ?? program;
  return { prometheus: pathOf("prometheus"), promtool: pathOf("promtool") };
}
