import { readStackEnv, stopStackWhenInterrupted } from "../../stack/index.ts";
import { stopProducts } from "../../stack/product/index.ts";

/** A proof that is interrupted takes its stack down. Whoever keeps the stack keeps the parts; the products are the proof's. */
export function stopWhenInterrupted(stackName: string, keepStack: boolean): void {
  if (!keepStack) {
    stopStackWhenInterrupted(stackName);
    return;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      console.error("stopped before its end");
      void stopProducts(readStackEnv(stackName)).finally(() => process.exit(130));
    });
  }
}
