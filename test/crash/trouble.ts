/** A door in front of a neighbour. While there is trouble, what is asked arrives, and the answer does not, or not whole. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** `html` and `nonsense` stand for a proxy in between that answers 200 in the neighbour's place; for HTTP alone. */
export const TROUBLES = ["drop", "hang", "truncate", "html", "nonsense"] as const;
export type Trouble = (typeof TROUBLES)[number];

export interface Door {
  readonly port: number;
  begin(trouble: Trouble): void;
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

/** Time for the neighbour to do what it was asked, after the one who asked has been cut off. */
const FINISH_MS = 2_000;

const page = (type: string, body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
const INSTEAD: Readonly<Record<"html" | "nonsense", string>> = {
  html: page("text/html", "<!doctype html><title>Sign in</title><p>Please sign in.</p>"),
  nonsense: page("application/json", '{"nonsense":true}'),
};

export async function makeDoor(target: { readonly host: string; readonly port: number }): Promise<Door> {
  const sockets = new Set<Socket>();
  let trouble: Trouble | undefined;
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
    const neighbour = connect({ ...target, noDelay: true });
    let silent = false;
    keep(neighbour);
    caller.setNoDelay(true);
    caller.pipe(neighbour);
    caller.once("close", () => setTimeout(() => neighbour.destroy(), silent ? FINISH_MS : 0));
    neighbour.once("close", () => {
      if (!silent) caller.destroy();
    });
    neighbour.on("data", (answer) => {
      if (silent) return;
      if (trouble === undefined) {
        caller.write(answer);
        return;
      }
      silent = true;
      lost += 1;
      switch (trouble) {
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
          caller.end(INSTEAD[trouble]);
          return;
        default:
          trouble satisfies never;
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
      trouble = kind;
      lost = 0;
    },
    end() {
      trouble = undefined;
    },
    mute(on) {
      mute = on;
      // Who is connected already is to find nobody either; and who hung is let go.
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
