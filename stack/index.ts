/** The local real stack, for tests and the demo. */
export type { EnvKey, StackEnv } from "./env.ts";
export { stopNow, stopStackWhenInterrupted } from "./interrupt.ts";
export { obtain } from "./obtain/index.ts";
export type { PartName } from "./parts/part.ts";
export {
  readStackEnv,
  stackStatus,
  startPart,
  startStack,
  stopPart,
  stopStack,
  type PartStatus,
  type StackOptions,
} from "./stack.ts";
