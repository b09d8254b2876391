/** What is measured, and what several runs of it say together. Pure. */

export type Unit = "1/s" | "ms" | "s" | "MiB" | "KiB" | "1/min" | "s/min" | "count" | "ratio";

/** Where the goal is set: on what we cost, on how that stands to the floor (quotient or difference), or on the floor. */
export type GoalOf = "ours" | "ratio" | "added" | "floor";

export interface Goal {
  readonly of: GoalOf;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One number of one run. The same `what` in every run is one row of the table. */
export interface Figure {
  readonly what: string;
  readonly unit: Unit;
  readonly ours: number;
  /** The same outside work with nothing of ours; undefined: there is none, and nothing is the floor. */
  readonly floor?: number | undefined;
  readonly goal?: Goal | undefined;
}

export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export interface Row {
  readonly part: string;
  readonly what: string;
  readonly unit: Unit;
  readonly goal: Goal | undefined;
  readonly ours: Spread;
  readonly floor: Spread | undefined;
  /** Ours over the floor's, run by run. */
  readonly ratio: Spread | undefined;
  /** Undefined: no goal is set. */
  readonly met: boolean | undefined;
  readonly runs: readonly { readonly ours: number; readonly floor: number | undefined }[];
}

/** Throws on no values. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [least] = sorted;
  const most = sorted.at(-1);
  if (least === undefined || most === undefined) throw new Error("a spread of no values");
  return { median: percentile(sorted, 0.5), least, most };
}

/** `sorted` ascending; the value below which this share lies, between two upstreams in proportion. */
export function percentile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)];
  const above = sorted[Math.ceil(at)];
  if (below === undefined || above === undefined) throw new Error("a percentile of no values");
  return below + (above - below) * (at - Math.floor(at));
}

/** One row for each `what`, in the order of the first run. */
export function rowsOf(part: string, runs: readonly (readonly Figure[])[]): Row[] {
  const all = runs.flat();
  const names = [...new Set(all.map(({ what }) => what))];
  return names.map((what) =>
    rowOf(
      part,
      all.filter((figure) => figure.what === what),
    ),
  );
}

function rowOf(part: string, figures: readonly Figure[]): Row {
  const [first] = figures;
  if (first === undefined) throw new Error("a row of no figures");
  const paired = figures.flatMap(({ ours, floor }) => (floor === undefined ? [] : [{ ours, floor }]));
  const { what, unit, goal } = first;
  return {
    part,
    what,
    unit,
    goal,
    ours: spread(figures.map(({ ours }) => ours)),
    floor: paired.length === 0 ? undefined : spread(paired.map(({ floor }) => floor)),
    ratio: paired.length === 0 ? undefined : spread(paired.map(({ ours, floor }) => ours / floor)),
    met: goal === undefined ? undefined : meets(goal, figures),
    runs: figures.map(({ ours, floor }) => ({ ours, floor })),
  };
}

/** The median of the runs decides. A goal on a floor that nobody measured is not met. */
function meets({ of, atLeast = -Infinity, atMost = Infinity }: Goal, figures: readonly Figure[]): boolean {
  const values = figures.flatMap(({ ours, floor }) => {
    if (of === "ours") return [ours];
    if (floor === undefined) return [];
    return [of === "ratio" ? ours / floor : of === "added" ? ours - floor : floor];
  });
  if (values.length === 0) return false;
  const { median } = spread(values);
  return median >= atLeast && median <= atMost;
}
