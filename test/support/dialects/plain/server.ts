import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { randomUUID } from "node:crypto";

interface User {
  readonly tenant: string;
  key: string;
  enabled: boolean;
}

export interface PlainServer {
  readonly url: string;
  has(uuid: string): boolean;
  close(): Promise<void>;
}

/** A gateway that speaks `plain`, in memory. */
export async function startPlainServer(password: string): Promise<PlainServer> {
  const users = new Map<string, User>();
  const server = createServer((request, response) => {
    const reply = (status: number, body: object): void =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const bearer = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const [, area, id = "", verb] = (request.url ?? "").split("/");
    if (area === "v1") {
      const owner = [...users.values()].find(({ key }) => key === bearer);
      if (owner === undefined) return reply(401, {});
      return owner.enabled ? reply(200, { data: [] }) : reply(403, {});
    }
    if (area !== "users" || bearer !== password) return reply(area === "users" ? 401 : 404, {});
    const known = users.get(id);
    if (request.method === "PUT") {
      return void json(request).then((body) => {
        const before = users.get(id);
        const user = before ?? { tenant: (body as { tenant: string }).tenant, key: newKey(), enabled: true };
        users.set(id, user);
        reply(before === undefined ? 201 : 200, user);
      });
    }
    if (known === undefined) return reply(404, {});
    if (verb === "rotate") known.key = newKey();
    if (verb === "enable" || verb === "disable") known.enabled = verb === "enable";
    reply(200, known);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    has: (uuid) => users.has(uuid),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const newKey = (): string => `sk-${randomUUID()}`;
