/** What one admin API of a gateway is to the rest of the code: a folder of dialects/, and a line in dialects/index.ts. */
import type { ObserveCall } from "../api/upstreamOperations.ts";
import type { Clock } from "../lib/clock.ts";
import type { MasterKeys } from "../lib/masterKeys.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import type { Gateway, GatewayCapabilities } from "./gateway.ts";

/** One tenant's gateway: where it is, and the credential that opens it. */
export interface GatewaySettings<Key extends string = string> {
  readonly tenantID: string;
  /** The gateway's address; a path prefix and a slash at the end are allowed. */
  readonly url: string;
  /** The entries of the tenant's credential Secret that the dialect names. */
  readonly credential: Readonly<Record<Key, Sensitive>>;
}

/** What every dialect gets of the process. */
export interface GatewayDeps {
  readonly clock: Clock;
  /** For metrics and traces: every request. */
  readonly observe?: ObserveCall;
  /** The gateway lets more calls of these tenants through than was known. */
  readonly limitRaised: (tenantIDs: readonly string[]) => void;
  /** A user's password at the gateway had to be set again, and why. */
  readonly passwordReset: (uuid: string, why: "master-key" | "refused") => void;
}

export interface GatewayFactory<Key extends string = string> {
  /** Throws a TerminalError for settings that can never work. */
  make(settings: GatewaySettings<Key>): Gateway;
}

interface Traits<Key extends string> {
  /** Entries of the tenant's credential Secret; each must be there. */
  readonly credentialKeys: readonly Key[];
  readonly capabilities: GatewayCapabilities;
}

interface WithoutMasterKeys<Key extends string> extends Traits<Key> {
  readonly needsMasterKeys: false;
  /** Called once in a process: what the tenants of this dialect share is made here. */
  open(deps: GatewayDeps): GatewayFactory<Key>;
}

interface WithMasterKeys<Key extends string> extends Traits<Key> {
  /** Passwords of its users are derived from the installation's master keys. */
  readonly needsMasterKeys: true;
  open(deps: GatewayDeps & { readonly masterKeys: MasterKeys }): GatewayFactory<Key>;
}

export type GatewayDialect<Key extends string = string> = WithoutMasterKeys<Key> | WithMasterKeys<Key>;
