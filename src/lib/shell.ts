/** Command lines for people to run in a POSIX shell: what is put into one is always one word of it. */

/** One word of a shell's line, whatever it holds. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Several words, or a piece of shell that is meant as one. */
export interface Raw {
  readonly raw: string;
}

export function raw(text: string): Raw {
  return { raw: text };
}

/** A line of a shell: every value becomes one word, unless it is said to be more. */
export function shell(strings: TemplateStringsArray, ...values: readonly (string | Raw)[]): string {
  return String.raw({ raw: strings }, ...values.map((each) => (typeof each === "string" ? shellWord(each) : each.raw)));
}
