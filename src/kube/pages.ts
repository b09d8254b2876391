/** A collection of the API server, in pages that fit into what is read of one answer. */
import { REASON } from "../api/reasons.ts";
import { bodyRefusedBy } from "../lib/body.ts";
import { systemClock } from "../lib/clock.ts";
import { readAll } from "../lib/paging.ts";

const PAGE = 500;
/** More than any collection has; and longer than the API server keeps a list that is read in pages. */
const MOST = 10_000_000;
const WITHIN_MS = 10 * 60_000;

export interface PageQuery {
  readonly limit: string;
  readonly continue?: string;
}

/**
 * Asks for one page after the other; `ask` returns what the page says of the next one. How large an object is, is its
 * writer's choice: a page that is too much is asked for again in a smaller one.
 */
export async function eachPage(ask: (query: PageQuery) => Promise<string | undefined>): Promise<void> {
  const paging = { what: "a list", upstream: "kubernetes", code: REASON.UpstreamUnavailable } as const;
  let limit = PAGE;
  await readAll({ ...paging, mostItems: MOST, withinMs: WITHIN_MS, clock: systemClock }, "", async (cursor) => {
    try {
      const next = await ask({ limit: String(limit), ...(cursor === "" ? {} : { continue: cursor }) });
      const items = limit;
      // The others may be small again.
      limit = Math.min(PAGE, limit * 2);
      return { items, next: next === "" ? undefined : next };
    } catch (error) {
      if (limit === 1 || bodyRefusedBy(error) === undefined) throw error;
      limit = Math.max(1, Math.floor(limit / 4));
      return { items: 0, next: cursor };
    }
  });
}
