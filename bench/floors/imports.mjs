// The same process with its imports and nothing else. Plain JavaScript: to strip types would cost 30 MiB by itself.
import { join } from "node:path";

const { dist, role } = JSON.parse(process.argv[2] ?? "");
await import(join(dist, `${role}.js`));
console.log(JSON.stringify({ loaded: role }));
setInterval(() => {}, 60_000);
