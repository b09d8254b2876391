/**
 * The gate for text that somebody else wrote: tenants in their manifests, upstreams in their answers. Linear in what it
 * keeps, however long the text is: it is cut before anything is looked for in it.
 */
import { hash } from "node:crypto";

/**
 * What no sentence needs and a terminal, a log or a database may stumble over: control characters (NUL and line breaks
 * among them), halves of surrogate pairs, line and paragraph separators, what turns the direction of writing, and what
 * cannot be seen.
 */
const UNSHOWABLE =
  /[\p{Cc}\p{Cs}\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]+/gu;

/** One line that can be shown and stored anywhere: each run of what cannot be shown becomes one space. */
export function plainText(text: string): string {
  return text.replace(UNSHOWABLE, " ");
}

/** Colors and their end, as this program's own tables set them. */
const ESCAPE = "\u001b";
const COLOR = /^\[\d{1,3}m/;

/**
 * What a program may write to a terminal, a pipe or a file that somebody looks at: of what {@link plainText} takes out,
 * line breaks, tabs and colors stay; everything else is shown as U+FFFD, or by `escape` where the format has escapes.
 */
export function shown(text: string, escape: (character: string) => string = () => "\ufffd"): string {
  return text.replace(UNSHOWABLE, (run: string, at: number) => {
    let made = "";
    // A color begins with the control character, and continues with what can be shown.
    for (let index = 0; index < run.length; index += 1) {
      const character = run.charAt(index);
      const isColor =
        index === run.length - 1 && character === ESCAPE && COLOR.test(text.slice(at + index + 1, at + index + 8));
      made += character === "\n" || character === "\t" || isColor ? character : escape(character);
    }
    return made;
  });
}

/** The same of JSON, in which each character that is not shown has an escape. */
export const shownJSON = (json: string): string =>
  shown(json, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** The beginning of the text, at most `most` bytes of UTF-8, never half a character. */
export function cutBytes(text: string, most: number): string {
  // No character has fewer bytes than code units.
  if (text.length * 3 <= most) return text;
  const bytes = Buffer.from(text.slice(0, most), "utf8");
  if (bytes.length <= most && text.length <= most) return text;
  let end = Math.min(most, bytes.length);
  // A byte 10xxxxxx continues a character.
  if (end < bytes.length) while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end);
}

/** Without these characters at its end: an expression with `+$` begins at each of them again. */
export function withoutEnd(text: string, characters: string): string {
  let end = text.length;
  while (end > 0 && characters.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** A text that is only ever compared: short and plain as it is, anything else as its hash. Applied twice it changes nothing. */
const COMPARABLE = /^[A-Za-z0-9 .:;,@_+-]{1,80}$/;

/** What stands for a value that is only compared (an annotation): harmless in a column, a label, a log line and a status. */
export function mark(value: string): string {
  return COMPARABLE.test(value) ? value : `sha256:${hash("sha256", value)}`;
}
