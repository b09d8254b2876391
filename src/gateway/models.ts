import type { Clock } from "../lib/clock.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import { judgeKey } from "./classify.ts";
import type { KeyVerdict } from "./gateway.ts";
import type { GatewayCall } from "./gatewayCall.ts";

/** What may stand in a header as it is. fetch quotes a value that may not in its error, so it never gets one. */
export const SENDABLE = /^[\x21-\x7e]+$/;

/** Opens `GET /v1/models` with the key, as every dialect does; `base` has no slash at the end. Throws TransientErrors. */
export async function tryKey(
  base: string,
  key: Sensitive,
  deps: { readonly call: GatewayCall; readonly clock: Clock },
  signal: AbortSignal,
): Promise<KeyVerdict> {
  const value = key.reveal();
  if (!SENDABLE.test(value)) return "dead";
  const answer = await deps.call(
    {
      method: "GET",
      url: `${base}/v1/models`,
      headers: { accept: "application/json", authorization: `Bearer ${value}` },
      secrets: [value],
    },
    signal,
  );
  return judgeKey(answer, deps.clock.now(), [value]);
}
