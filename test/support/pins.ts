import type { Pins } from "../../src/reconciler/pinQuestions.ts";

/** Where nobody pins a uuid that is not known here. */
export const NO_PINS: Pins = {
  known: () => undefined,
  ask: ({ pin }) => {
    throw new Error(`it was asked whose ${pin} is upstream`);
  },
};
