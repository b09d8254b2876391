/** Who may call: the API server, by its client certificate. */
import type { TLSSocket } from "node:tls";
import type { Log } from "../lib/log.ts";

const SAY_EVERY_MS = 60_000;

export interface ClientCheck {
  /** A handshake that failed, for want of a certificate or for another reason. */
  failed(error: Error): void;
  /** One that the CA vouches for; closed when its name is another one. */
  connected(socket: TLSSocket): void;
}

/** One line a minute, however many knock. */
export function makeClientCheck(names: readonly string[], log: Log, now = () => performance.now()): ClientCheck {
  let saidAt = -Infinity;
  const say = (problem: string): void => {
    if (now() - saidAt < SAY_EVERY_MS) return;
    saidAt = now();
    log.warn("refused a client", { problem });
  };
  return {
    failed: (error) => {
      // Somebody who only looks whether the port is open.
      if ("code" in error && error.code === "ECONNRESET") return;
      say("code" in error ? String(error.code) : "the handshake failed");
    },
    connected(socket) {
      if (names.length === 0 || namesOf(socket).some((name) => names.includes(name))) return;
      say("its certificate is valid, and its name is none of ADMISSION_CLIENT_NAMES");
      socket.destroy();
    },
  };
}

/** The common name, and the DNS names beside it. */
function namesOf(socket: TLSSocket): string[] {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return [];
  const { CN } = certificate.toLegacyObject().subject;
  const given = certificate.subjectAltName ?? "";
  // Node quotes names with signs that no host name has: of such a certificate only the common name counts.
  const alternatives = (given.includes('"') ? "" : given).split(", ").flatMap((entry) => {
    return entry.startsWith("DNS:") ? [entry.slice("DNS:".length)] : [];
  });
  return [...(typeof CN === "string" ? [CN] : []), ...alternatives];
}
