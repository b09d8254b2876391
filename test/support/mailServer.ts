/** A mail server that takes mails, refuses them, or is not there. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { SMTPServer } from "smtp-server";

export interface Mail {
  readonly to: string;
  readonly text: string;
}

export interface MailServer {
  readonly port: number;
  /** Nobody listens on its port. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Answers each recipient with 550 from here on, or takes mails again. */
  refuse(refuses: boolean): void;
  /** How often it was asked to take a mail for this address, and refused. */
  refusals(address: string): number;
  /** What it took for this address, oldest first. */
  mails(address: string): readonly Mail[];
}

export async function startMailServer(): Promise<MailServer> {
  const taken: Mail[] = [];
  const refused: string[] = [];
  let refuses = false;
  let server: SMTPServer | undefined;
  const port = await freePort();
  const make = (): SMTPServer =>
    new SMTPServer({
      authOptional: true,
      disabledCommands: ["STARTTLS", "AUTH"],
      onRcptTo({ address }, _session, done) {
        if (refuses) refused.push(address);
        done(refuses ? Object.assign(new Error("no such user here"), { responseCode: 550 }) : null);
      },
      onData(stream, { envelope }, done) {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
        stream.on("end", () => {
          const body = Buffer.concat(chunks).toString();
          for (const { address } of envelope.rcptTo) taken.push({ to: address, text: body });
          done();
        });
      },
    });
  const mailServer: MailServer = {
    port,
    async start() {
      assert(server === undefined, "the mail server runs already");
      server = make();
      const { server: listener } = server;
      server.listen(port, "127.0.0.1");
      await once(listener, "listening");
    },
    async stop() {
      const running = server;
      server = undefined;
      if (running !== undefined) await new Promise<void>((resolve) => running.close(() => resolve()));
    },
    refuse: (wanted) => void (refuses = wanted),
    refusals: (address) => refused.filter((each) => each === address).length,
    mails: (address) => taken.filter(({ to }) => to === address),
  };
  await mailServer.start();
  return mailServer;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  await new Promise((resolve) => void probe.close(resolve));
  assert(typeof address === "object" && address !== null);
  return address.port;
}
