import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { MasterKeys } from "../lib/masterKeys.ts";
import type { GatewayDeps, GatewayDialect, GatewayFactory, GatewaySettings } from "./dialect.ts";
import type { Gateway } from "./gateway.ts";

export interface GatewaysDeps extends GatewayDeps {
  readonly masterKeys: MasterKeys | undefined;
}

/** Makes each tenant's gateway by the name of its dialect. Throws a TerminalError for settings that can never work. */
export function makeGateways<Name extends string>(
  dialects: Readonly<Record<Name, GatewayDialect>>,
  deps: GatewaysDeps,
): (settings: GatewaySettings & { readonly dialect: Name }) => Gateway {
  const opened = new Map<Name, GatewayFactory>();
  return ({ dialect: name, ...settings }) => {
    const factory = opened.get(name) ?? open(name, dialects[name], deps);
    opened.set(name, factory);
    return factory.make(settings);
  };
}

function open(name: string, dialect: GatewayDialect, { masterKeys, ...deps }: GatewaysDeps): GatewayFactory {
  if (!dialect.needsMasterKeys) return dialect.open(deps);
  if (masterKeys !== undefined) return dialect.open({ ...deps, masterKeys });
  throw new TerminalError({
    code: REASON.NewAPICredentialsMissing,
    message: `Dialect ${name} needs master keys: give the reconciler MASTER_KEYS_FILE, as docs/newapi.md says.`,
  });
}
