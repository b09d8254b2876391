import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

import { makeAccounts } from "./accounts.ts";
import { adminV1 } from "./adminV1.ts";
import { control, type Parts } from "./control.ts";
import {
  BodyTooLarge,
  type Call,
  compressed,
  json,
  readCall,
  refusal,
  type Reply,
  send,
  type Surface,
} from "./exchange.ts";
import { makeFaults } from "./faults.ts";
import { makeJournal } from "./journal.ts";
import { models } from "./models.ts";
import type { Generation } from "./newApi/settings.ts";
import { newApi } from "./newApi/surface.ts";

export interface StandInOptions {
  /** Of dialect admin-v1; in dialect new-api the access token of its admin, whose id is {@link ADMIN}. */
  readonly adminToken: string;
  /** Which releases dialect new-api is like. Default: 2026-07. */
  readonly generation?: Generation | undefined;
  /** Whether dialect new-api has its limits as shipped. Default: no. */
  readonly limits?: boolean | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Default 0: a free one. */
  readonly port?: number | undefined;
}

export interface StandIn {
  /** Without a trailing slash. */
  readonly url: string;
  /** Cuts what is under way, calls that hang or wait included. */
  readonly close: () => Promise<void>;
}

/** The gateway's stand-in, listening. Rejects when the port is taken. */
export async function startStandIn({
  adminToken,
  generation = "2026-07",
  limits = false,
  host = "127.0.0.1",
  port = 0,
}: StandInOptions): Promise<StandIn> {
  const accounts = makeAccounts();
  const real = newApi(adminToken, generation, limits);
  const parts: Parts = { accounts, journal: makeJournal(), faults: makeFaults(), newApi: real };
  const surfaces = [adminV1(accounts, adminToken), real, models(accounts)];
  const closing = new AbortController();

  const server = createServer((request, response) => {
    serve(request, response, parts, surfaces, closing.signal).catch((error: unknown) => {
      if (closing.signal.aborted || request.destroyed) response.destroy();
      else send(response, refusal(500, "stand_in_failed", String(error)));
    });
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error(`listening on ${address}, which is no port`);
  const shownHost = address.family === "IPv6" ? `[${address.address}]` : address.address;

  return {
    url: `http://${shownHost}:${address.port}`,
    async close() {
      closing.abort();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  parts: Parts,
  surfaces: readonly Surface[],
  closing: AbortSignal,
): Promise<void> {
  let call: Call;
  try {
    call = await readCall(request);
  } catch (error) {
    if (!(error instanceof BodyTooLarge)) return void response.destroy();
    return send(response, refusal(413, "too_large", "The body is too large."));
  }
  if (call.path === "/healthz") return send(response, json(200, { status: "ok" }));
  if (call.path.startsWith("/_/")) return send(response, control(call, parts));

  const externalID = surfaces.map((surface) => surface.externalIDOf(call)).find((id) => id !== undefined);
  const journaled = parts.journal.begin(call, externalID);
  const { latencyMs, verdict, fault } = parts.faults.take(call, externalID);
  journaled.entry.fault = fault;
  if (latencyMs > 0) await wait(latencyMs, undefined, { signal: closing });

  const finish = (reply: Reply): void => {
    journaled.end(reply.status);
    send(response, reply.compress === true ? compressed(call, reply) : reply);
  };
  switch (verdict.kind) {
    case "none":
      return finish(await work(call, surfaces));
    case "reply":
      return finish(verdict.reply);
    case "truncated": {
      const reply = await work(call, surfaces);
      return finish({ ...reply, body: reply.body.slice(0, Math.floor(reply.body.length / 2)) });
    }
    case "hang":
      return;
    case "dropAfter":
      await work(call, surfaces);
      break;
    case "dropBefore":
      break;
    default:
      verdict satisfies never;
  }
  journaled.end(null);
  request.socket.destroy();
}

async function work(call: Call, surfaces: readonly Surface[]): Promise<Reply> {
  for (const surface of surfaces) {
    const leave = await surface.enter?.(call);
    try {
      const reply = surface.answer(call);
      if (reply !== undefined) return surface.compresses === true ? { ...reply, compress: true } : reply;
    } finally {
      leave?.();
    }
  }
  return refusal(404, "no_such_route", "There is nothing at this path.");
}
