/**
 * `node test/charts.ts`: lints and renders both charts with each set of values, for `make check`. Where Helm is not built yet, the
 * contract tests build it and check the same and more.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { isHelmBuilt, obtainHelm } from "../stack/obtain/helm.ts";
import { CHARTS, lintArguments, valueSets } from "./support/helm.ts";

const run = promisify(execFile);

if (await isHelmBuilt()) {
  const helm = await obtainHelm();
  const sets = CHARTS.flatMap((chart) => [...valueSets(chart)].map(([name, files]) => ({ chart, name, files })));
  for (const { chart, name, files } of sets) {
    await run(helm, lintArguments(chart, files)).catch((error: unknown) => {
      const said = error instanceof Error && "stdout" in error ? String(error.stdout) : String(error);
      console.error(`${chart} with values ${name}:\n${said}`);
      process.exitCode = 1;
    });
  }
} else {
  console.log("helm is not built yet: npm test -- unit builds it and checks the charts");
}
