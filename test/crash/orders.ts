/** What the runner and a reconciler under test say to each other, over the channel that node gives a forked child. */
import type { Happening, Point } from "./effects.ts";

export type Order =
  /** Die the `nth` time you come here, counted from now. */
  | { readonly kind: "die"; readonly at: Point; readonly nth: number }
  /** Stop (SIGSTOP) the first time you come here. */
  | { readonly kind: "stop"; readonly at: Point }
  /** The `nth` time this is about to happen, ask for the fault, and say when it is over. */
  | { readonly kind: "fault"; readonly on: Happening; readonly nth: number }
  /** Count from zero. */
  | { readonly kind: "count" }
  /** The fault is there. */
  | { readonly kind: "go" };

export type Report =
  | { readonly kind: "at"; readonly point: Point }
  | { readonly kind: "unnamed"; readonly what: string }
  | { readonly kind: "faultWanted" }
  | { readonly kind: "faultOver" };

/** Environment variables that only the entry of the crash tests reads. */
export const FIRST_ORDER = "CRASH_FIRST_ORDER";
export const ONLY_TENANT = "CRASH_ONLY_TENANT";
export const ONLY_NAMESPACE = "CRASH_ONLY_NAMESPACE";
