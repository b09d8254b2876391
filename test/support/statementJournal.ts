/** A door in front of Postgres that notes the statements of whoever goes through, and how often they ask for an answer. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export interface StatementJournal extends AsyncDisposable {
  /** The same database, through the door. */
  readonly url: string;
  /** What was run, in order. */
  readonly texts: string[];
  /** Round trips: how often an answer was asked for. */
  syncs(): number;
}

const HEADER = 5;

/** Frontend messages of https://www.postgresql.org/docs/current/protocol-message-formats.html; no TLS. */
export async function statementJournal(databaseURL: string): Promise<StatementJournal> {
  const target = new URL(databaseURL);
  const texts: string[] = [];
  let syncs = 0;

  /** `prepared`: of this connection, by name. */
  const note = (type: string, body: Buffer, prepared: Map<string, string>): void => {
    if (type === "S" || type === "Q") syncs += 1;
    const [first, second] = [cString(body, 0), cString(body, body.indexOf(0) + 1)];
    if (type === "Q") texts.push(first);
    // Parse: the name, then the text. Bind: the portal, then the name.
    if (type === "P") prepared.set(first, second);
    if (type === "B") texts.push(prepared.get(second) ?? "");
  };

  const server = createServer((client) => {
    const postgres = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    let rest: Buffer = Buffer.alloc(0);
    let started = false;
    const prepared = new Map<string, string>();
    client.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        // The very first message has no type.
        const header = started ? HEADER : HEADER - 1;
        if (rest.length < header) return;
        const end = rest.readInt32BE(header - 4) + header - 4;
        if (rest.length < end) return;
        if (started) note(rest.toString("latin1", 0, 1), rest.subarray(HEADER, end), prepared);
        started = true;
        rest = rest.subarray(end);
      }
    });
    client.on("error", () => postgres.destroy());
    postgres.on("error", () => client.destroy());
    client.pipe(postgres).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: Object.assign(new URL(databaseURL), { hostname: "127.0.0.1", port: String(port) }).href,
    texts,
    syncs: () => syncs,
    async [Symbol.asyncDispose]() {
      server.close();
      await Promise.resolve();
    },
  };
}

function cString(body: Buffer, from: number): string {
  return body.toString("utf8", from, body.indexOf(0, from));
}
