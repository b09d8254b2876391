import type * as z from "zod";
import type { reconcilerEnv } from "./configVariables.ts";
import { type SecretSource, secretSource } from "./secretFile.ts";
import { Sensitive } from "./sensitive.ts";

export interface NatsConfig {
  /** As written, so with a password where somebody put one there. */
  readonly servers: readonly Sensitive[];
  /** A credentials file (JWT and seed), read again at each connect. */
  readonly credsFile: string | undefined;
  /** A file with an nkey's seed. */
  readonly nkeyFile: string | undefined;
  readonly login: { readonly user: string; readonly password: SecretSource } | undefined;
  readonly token: SecretSource | undefined;
  readonly tls: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string } | undefined;
  /** The stream of the heartbeat, and that of events, where the platform has its own. */
  readonly heartbeatStream: string | undefined;
  readonly eventStream: string | undefined;
}

/** One way to log in, whole. */
export function natsMistakes(given: Readonly<Record<string, string>>): string[] {
  const ways = ["NATS_CREDS_FILE", "NATS_NKEY_FILE", "NATS_USER", "NATS_TOKEN"].filter(
    (name) => given[name] !== undefined,
  );
  const mistakes = ways.slice(1).map((name) => `${name}: give it or ${ways[0] ?? ""}, not both`);
  for (const [name, other] of [
    ["NATS_USER", "NATS_PASSWORD"],
    ["NATS_PASSWORD", "NATS_USER"],
    ["NATS_CERT_FILE", "NATS_KEY_FILE"],
    ["NATS_KEY_FILE", "NATS_CERT_FILE"],
  ] as const) {
    if (given[name] !== undefined && given[other] === undefined)
      mistakes.push(`${name}: means nothing without ${other}`);
  }
  return mistakes;
}

export function natsCredentials(
  vars: z.infer<typeof reconcilerEnv>,
  given: Readonly<Record<string, string>>,
): Pick<NatsConfig, "credsFile" | "nkeyFile" | "login" | "token" | "tls"> {
  const source = (text: string, name: string): SecretSource => secretSource(new Sensitive(text), given[`${name}_FILE`]);
  const { NATS_USER: user, NATS_PASSWORD: password, NATS_TOKEN: token } = vars;
  const { NATS_CA_FILE: caFile, NATS_CERT_FILE: certFile, NATS_KEY_FILE: keyFile } = vars;
  const tls = {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
  return {
    credsFile: vars.NATS_CREDS_FILE,
    nkeyFile: vars.NATS_NKEY_FILE,
    login:
      user === undefined || password === undefined ? undefined : { user, password: source(password, "NATS_PASSWORD") },
    token: token === undefined ? undefined : source(token, "NATS_TOKEN"),
    tls: Object.keys(tls).length === 0 ? undefined : tls,
  };
}
