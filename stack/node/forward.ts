/** Gives the node's Pods the stack's parts, which listen on loopback: `forward.ts ADDRESS "PORT=LOOPBACKPORT ..."`. */
import { connect, createServer } from "node:net";

const [address, list = ""] = process.argv.slice(2);

for (const pair of list.split(" ")) {
  const [outer, inner] = pair.split("=").map(Number);
  if (outer === undefined || inner === undefined) throw new Error(`"${pair}" is not PORT=LOOPBACKPORT`);
  createServer({ allowHalfOpen: true }, (from) => {
    const to = connect({ host: "127.0.0.1", port: inner, allowHalfOpen: true });
    from.pipe(to).pipe(from);
    // A part that is down refuses: so does this.
    from.on("error", () => to.destroy());
    to.on("error", () => from.resetAndDestroy());
  }).listen(outer, address);
}
