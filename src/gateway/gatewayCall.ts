/** The one way out to a gateway: every request of every dialect passes here, and is measured and traced. */
import { type ObserveCall, type OperationTable, operationIn } from "../api/upstreamOperations.ts";
import { call, type HttpAnswer, type HttpRequest, originOf } from "../lib/http.ts";

/** Throws TransientError like `call` of lib/http.ts. */
export type GatewayCall = (request: HttpRequest, signal: AbortSignal) => Promise<HttpAnswer>;

/** `operations`: by the path below the gateway's address, however it begins. */
export function makeGatewayCall(operations: OperationTable<"newapi">, observe: ObserveCall | undefined): GatewayCall {
  return async (request, signal) => {
    if (observe === undefined) return call("newapi", request, signal);
    const { method, url } = request;
    const operation = operationIn(operations, method, url);
    const { headers, over } = observe({ upstream: "newapi", operation, method, origin: originOf(url) });
    let status: number | undefined;
    try {
      const answer = await call("newapi", { ...request, headers: { ...request.headers, ...headers } }, signal);
      ({ status } = answer);
      return answer;
    } finally {
      over(status);
    }
  };
}
