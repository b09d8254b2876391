import type { Reason } from "../api/reasons.ts";
import type { SagaRow } from "../saga/row.ts";
import type { Bound } from "../saga/transitions.ts";

/** An object that asks for a row. */
export interface BindRequest extends Bound {
  readonly pin: string | undefined;
  readonly maxUsers: number | undefined;
}

/** It waits, or a person must act. */
export interface HeldBack {
  readonly kind: "waiting" | "refused";
  readonly reason: Reason;
  readonly message: string;
}

export type Binding = { readonly kind: "bound"; readonly row: SagaRow; readonly returned: boolean } | HeldBack;
