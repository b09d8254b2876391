/** Whether two whole runs say the same. Pure. */
import { type GoalOf, type Row, type Spread, spread, type Unit } from "./figures.ts";

export interface Apart {
  readonly what: string;
  readonly unit: Unit;
  readonly before: Spread;
  readonly now: Spread;
}

export interface Agreement {
  /** Rows that both have, measured more than once in each. */
  readonly compared: number;
  readonly apart: readonly Apart[];
  /** Goals that one of them met and the other missed. */
  readonly verdicts: readonly string[];
}

/** Two runs agree on a row when their spreads, from the least to the most of each, have something in common. */
export function agreement(before: readonly Row[], now: readonly Row[]): Agreement {
  const pairs = now.flatMap((row) => {
    const other = before.find(({ part, what }) => part === row.part && what === row.what);
    return other === undefined ? [] : [{ row, other }];
  });
  const judged = pairs.flatMap(({ row, other }) => {
    if (row.runs.length < 2 || other.runs.length < 2) return [];
    const of = row.goal?.of ?? (row.floor === undefined ? "ours" : "ratio");
    const [a, b] = [figureOf(other, of), figureOf(row, of)];
    if (a === undefined || b === undefined) return [];
    return [{ what: row.what, unit: of === "ratio" ? ("ratio" as const) : row.unit, before: a, now: b }];
  });
  return {
    compared: judged.length,
    apart: judged.filter((each) => each.before.most < each.now.least || each.now.most < each.before.least),
    verdicts: pairs.filter(({ row, other }) => row.met !== other.met).map(({ row }) => row.what),
  };
}

/** What the goal is set on; without a goal, what stands for the row. */
function figureOf(row: Row, of: GoalOf): Spread | undefined {
  switch (of) {
    case "ours":
      return row.ours;
    case "floor":
      return row.floor;
    case "ratio":
      return row.ratio;
    case "added": {
      const added = row.runs.flatMap(({ ours, floor }) => (floor === undefined ? [] : [ours - floor]));
      return added.length === 0 ? undefined : spread(added);
    }
    default:
      return of satisfies never;
  }
}
