/** What goes to Postgres, in a form that it takes: whoever wrote it, no value fails a statement by what it holds. */

/** As JSON.stringify writes a NUL or half a pair; a text that only mentions one is parsed in vain. */
const UNSTORABLE = /\\u0000|\\ud[89a-f]/;

/** Postgres has no text with a NUL, and no half of a surrogate pair. */
export function storableText(text: string): string {
  return text.includes("\u0000") || !text.isWellFormed() ? text.replaceAll("\u0000", "\ufffd").toWellFormed() : text;
}

/** The text of a jsonb parameter. */
export function jsonb(value: unknown): string {
  const text = JSON.stringify(value);
  return UNSTORABLE.test(text) ? JSON.stringify(storable(JSON.parse(text))) : text;
}

function storable(value: unknown): unknown {
  if (typeof value === "string") return storableText(value);
  if (Array.isArray(value)) return value.map(storable);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [storableText(name), storable(entry)]));
}

/** The parameters of a statement: texts and lists of texts as they can be stored, everything else as it is. */
export function storableValues(values: readonly unknown[]): unknown[] {
  return values.map((value) => {
    if (typeof value === "string") return storableText(value);
    return Array.isArray(value) ? storableValues(value) : value;
  });
}

/** Data exception, integrity violation, a key that no index holds: Postgres' verdict on a value, which no repetition changes. */
const ABOUT_THE_VALUES = /^2[23]|^54000$/;

export function isAboutTheValues(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && ABOUT_THE_VALUES.test(code);
}

/**
 * Runs a statement for all of them at once. Where a value of one of them spoils it for the others, it is run for halves, down
 * to those that spoil it, which are given to `skipped` and left out. Any other failure is thrown.
 */
export async function sparingTheRest<T>(
  items: readonly T[],
  run: (items: readonly T[]) => Promise<unknown>,
  skipped: (item: T, error: unknown) => void,
): Promise<void> {
  if (items.length === 0) return;
  try {
    await run(items);
  } catch (error) {
    const [only, ...others] = items;
    if (!isAboutTheValues(error) || only === undefined) throw error;
    if (others.length === 0) return skipped(only, error);
    const half = Math.ceil(items.length / 2);
    await sparingTheRest(items.slice(0, half), run, skipped);
    await sparingTheRest(items.slice(half), run, skipped);
  }
}
