/** `npm run package`: makes the npm package in dist-package/, ready for `npm publish`. */
import { buildPackage, packageDirectory } from "./npm.ts";
import { projectManifest } from "./bundle.ts";

const files = await buildPackage(projectManifest.version);
console.log(`${packageDirectory}: ${files.join(", ")}`);
