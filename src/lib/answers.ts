/**
 * Lists and maps of an upstream, read up to the first entry that does not fit. A schema of the whole makes an issue of every
 * one, which takes longer than all else, and nobody reads more than that it does not fit.
 */
import * as z from "zod";

/** More than any answer has of what we ask for: however well it fits, it is not read. */
const LONGEST_LIST = 10_000;
const LARGEST_MAP = 2_000;

export function listOf<T>(item: z.ZodType<T>): z.ZodType<T[]> {
  return z.array(z.unknown()).transform((items, context) => {
    if (items.length > LONGEST_LIST) return refused(context);
    const read: T[] = [];
    for (const each of items) {
      const parsed = item.safeParse(each);
      if (!parsed.success) return refused(context);
      read.push(parsed.data);
    }
    return read;
  });
}

export function mapOf<T>(item: z.ZodType<T>): z.ZodType<Record<string, T>> {
  return z.record(z.string(), z.unknown()).transform((entries, context) => {
    const given = Object.entries(entries);
    if (given.length > LARGEST_MAP) return refused(context);
    const read: [string, T][] = [];
    for (const [name, each] of given) {
      const parsed = item.safeParse(each);
      if (!parsed.success) return refused(context);
      read.push([name, parsed.data]);
    }
    return Object.fromEntries(read);
  });
}

function refused(context: z.RefinementCtx): never {
  context.addIssue({ code: "custom", message: "an entry, or their number, does not fit" });
  return z.NEVER;
}
