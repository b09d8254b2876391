// The same process with its imports and nothing else. Plain JavaScript: to strip types would cost 30 MiB by itself.
import { join } from "node:path";

const { dist, role } = JSON.parse(process.argv[2] ?? "");
for (const module of ["lib/config.js", "lib/lifecycle.js", "lib/log.js", `roles/${role}.js`]) {
  await import(join(dist, module));
}
console.log(JSON.stringify({ loaded: role }));
setInterval(() => {}, 60_000);
