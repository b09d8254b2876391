import type { Reason } from "../api/reasons.ts";
import type { SagaRow } from "../saga/row.ts";
import type { Bound } from "../saga/transitions.ts";

/** An object that asks for a row. */
export interface BindRequest extends Bound {
  readonly pin: string | undefined;
  readonly maxUsers: number | undefined;
}

export type Binding =
  | { readonly kind: "bound"; readonly row: SagaRow; readonly returned: boolean }
  | { readonly kind: "waiting"; readonly reason: Reason; readonly message: string }
  | { readonly kind: "refused"; readonly reason: Reason; readonly message: string };
