/** Rows as a table, or as data where that is wanted. */
import { EXIT, type Exit } from "../exit.ts";
import type { CommandSession } from "../session.ts";
import { type Cell, table } from "../text.ts";

/** A title, and what stands under it of a row. */
export type Column<Row> = readonly [title: string, cell: (row: Row) => Cell | string];

interface Listing<Row> {
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  /** Said where there are no rows; absent: the titles alone are shown. */
  readonly none?: string;
  /** Said where there are more. */
  readonly more?: string | undefined;
}

/** `data`: the whole answer. */
export function listed<Row>(session: CommandSession, data: unknown, listing: Listing<Row>): Exit {
  const { rows, columns, none, more } = listing;
  if (session.data(data)) return EXIT.done;
  if (rows.length === 0 && none !== undefined) {
    session.note(none);
    return EXIT.done;
  }
  const cells = (row: Row): Cell[] =>
    columns.map(([, cellOf]) => {
      const cell = cellOf(row);
      return typeof cell === "string" ? { text: cell } : cell;
    });
  const titles = columns.map(([title]) => title);
  session.out(table(titles, rows.map(cells), session.paint));
  if (more !== undefined) session.note(more);
  return EXIT.done;
}

/** What is said of an answer that holds only the first rows. */
export function moreOf({ truncated }: { readonly truncated: boolean }): string | undefined {
  return truncated ? "There are more: say --tenant." : undefined;
}
