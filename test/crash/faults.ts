/** A door in front of an upstream. While there is fault, what is asked arrives, and the answer does not, or not whole. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** `html` and `nonsense` stand for a proxy in between that answers 200 in the upstream's sandbox; for HTTP alone. */
export const FAULTS = ["drop", "hang", "truncate", "html", "nonsense"] as const;
export type Fault = (typeof FAULTS)[number];

export interface Door {
  readonly port: number;
  begin(fault: Fault): void;
  end(): void;
  /** Nobody is there any more: what is open ends, and who knocks is refused. */
  shut(): Promise<void>;
  /** Somebody is there again, at the same address. */
  open(): Promise<void>;
  /** While on: every call is taken, and nothing is passed on or answered. What is open ends. */
  mute(on: boolean): void;
  /** While on: whoever comes is turned away at once; what is open ends. */
  slam(on: boolean): void;
  /** How many connections came so far. */
  knocks(): number;
  /** How many answers were lost since `begin`. */
  lost(): number;
  close(): Promise<void>;
}

/** Time for the upstream to do what it was asked, after the one who asked has been cut off. */
const FINISH_MS = 2_000;

const page = (type: string, body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
const INSTEAD: Readonly<Record<"html" | "nonsense", string>> = {
  html: page("text/html", "<!doctype html><title>Sign in</title><p>Please sign in.</p>"),
  nonsense: page("application/json", '{"nonsense":true}'),
};

export async function makeDoor(target: { readonly host: string; readonly port: number }): Promise<Door> {
  const sockets = new Set<Socket>();
  let fault: Fault | undefined;
  let lost = 0;
  let mute = false;
  let slammed = false;
  let knocks = 0;

  function endAll(): void {
    for (const socket of sockets) socket.destroy();
  }

  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  }

  const server = createServer((caller) => {
    knocks += 1;
    keep(caller);
    if (slammed) {
      caller.destroy();
      return;
    }
    if (mute) {
      caller.resume();
      return;
    }
    const upstream = connect({ ...target, noDelay: true });
    let silent = false;
    keep(upstream);
    caller.setNoDelay(true);
    caller.pipe(upstream);
    caller.once("close", () => setTimeout(() => upstream.destroy(), silent ? FINISH_MS : 0));
    upstream.once("close", () => {
      if (!silent) caller.destroy();
    });
    upstream.on("data", (answer) => {
      if (silent) return;
      if (fault === undefined) {
        caller.write(answer);
        return;
      }
      silent = true;
      lost += 1;
      switch (fault) {
        case "hang":
          return;
        case "drop":
          caller.destroy();
          return;
        case "truncate":
          caller.write(answer.subarray(0, Math.floor(answer.length / 2)), () => caller.destroy());
          return;
        case "html":
        case "nonsense":
          caller.end(INSTEAD[fault]);
          return;
        default:
          fault satisfies never;
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the door has no port");
  const { port } = address;

  async function shut(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    endAll();
    await closed;
  }

  return {
    port,
    shut,
    async open() {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    begin(kind) {
      fault = kind;
      lost = 0;
    },
    end() {
      fault = undefined;
    },
    mute(on) {
      mute = on;
      // Who is connected already is to find nobody either; and who hung is released.
      endAll();
    },
    slam(on) {
      slammed = on;
      if (on) endAll();
    },
    knocks: () => knocks,
    lost: () => lost,
    close: shut,
  };
}
