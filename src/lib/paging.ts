import type { Clock } from "./clock.ts";
import { type Upstream, TransientError } from "./errors.ts";

export interface Paging {
  /** For the sentence: "the tenant's users". */
  readonly what: string;
  readonly upstream: Upstream;
  /** The reason that such a failure is told with. */
  readonly code: string;
  /** Of all pages together: an upstream that always has one more must end somewhere. */
  readonly mostItems: number;
  /** For all pages together; each call has a deadline of its own. */
  readonly withinMs: number;
  readonly clock: Clock;
}

/** A page: how many items it gave, and where the next one begins; undefined: it was the last. */
export interface PageRead<Cursor> {
  readonly items: number;
  readonly next: Cursor | undefined;
}

/**
 * Reads a collection page by page. One that does not end, in items or in time, is its tenant's failure and passes like any
 * other outage: nobody else waits for it.
 */
export async function readAll<Cursor>(
  of: Paging,
  first: Cursor,
  read: (cursor: Cursor) => Promise<PageRead<Cursor>>,
): Promise<void> {
  const { mostItems, withinMs, clock } = of;
  const until = clock.now() + withinMs;
  let items = 0;
  for (let cursor: Cursor | undefined = first; cursor !== undefined;) {
    const page: PageRead<Cursor> = await read(cursor);
    items += page.items;
    if (items > mostItems) throw endless(of, `gave more than ${mostItems} items`);
    cursor = page.next;
    if (cursor !== undefined && clock.now() >= until) throw endless(of, `was not over after ${withinMs / 1000} s`);
  }
}

/** The same by the number of the first item, until a short page. */
export async function readPages<T>(
  of: Paging & { readonly pageSize: number },
  read: (first: number) => Promise<readonly T[]>,
  take: (item: T) => void,
): Promise<void> {
  const { pageSize } = of;
  await readAll(of, 0, async (first) => {
    const page = await read(first);
    page.forEach(take);
    return { items: page.length, next: page.length < pageSize ? undefined : first + pageSize };
  });
}

function endless({ what, upstream, code }: Paging, how: string): TransientError {
  return new TransientError({
    code,
    upstream,
    message: `${upstream}: reading ${what} ${how}; it is tried again later.`,
  });
}
