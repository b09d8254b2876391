/** The same process with its imports and nothing else. */
import { join } from "node:path";

interface Task {
  readonly dist: string;
  readonly role: "webhook" | "reconciler";
}

const { dist, role } = JSON.parse(process.argv[2] ?? "") as Task;
for (const module of ["lib/config.js", "lib/lifecycle.js", "lib/log.js", `roles/${role}.js`])
  await import(join(dist, module));
console.log(JSON.stringify({ loaded: role }));
setInterval(() => {}, 60_000);
