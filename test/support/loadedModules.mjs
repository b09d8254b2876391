/**
 * Preloaded by a test (`--import`): writes the address of each module of OpenTelemetry that is loaded to stderr, but for
 * its API, which prom-client needs for itself.
 */
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, nextResolve) {
    const found = nextResolve(specifier, context);
    if (/@opentelemetry\/(?!api\/)|openTelemetry\.ts/.test(found.url)) process.stderr.write(`loaded ${found.url}\n`);
    return found;
  },
});
