/**
 * What a word without quotes means on the way from Git to the cluster. Flux builds every folder with kustomize, which
 * reads YAML as go-yaml v3 does: neither YAML 1.1 nor 1.2. (kubectl by itself reads it as v2, see {@link disputed}.)
 */
import type { ScalarTag, Tags } from "yaml";

const DECIMAL = /^[-+]?(?:0|[1-9][0-9]*)$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const SEPARATED = /^\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?$/;
const OTHER_BASE = /^([-+]?)0(?:([xX])([0-9a-fA-F]+)|([bB])([01]+)|[oO]?([0-7]+))$/;
const INFINITE = /^[-+]?\.(?:inf|Inf|INF)$/;
const NOT_A_NUMBER = /^\.(?:nan|NaN|NAN)$/;
const DATE = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/;

/** A number where go-yaml sees one; else the text itself. */
export function readPlain(text: string): number | string {
  if (INFINITE.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (NOT_A_NUMBER.test(text)) return NaN;
  if (DATE.test(text) && isDay(text)) return `${text}T00:00:00Z`;
  // Underscores are passed over; behind a leading dot only where they separate digits.
  const plain = text.startsWith(".") && !SEPARATED.test(text) ? text : text.replaceAll("_", "");
  const other = OTHER_BASE.exec(plain);
  if (other !== null && !DECIMAL.test(plain)) {
    const [, sign, hex, hexDigits = "", binary, binaryDigits = "", octalDigits = ""] = other;
    const value =
      hex !== undefined
        ? Number.parseInt(hexDigits, 16)
        : binary !== undefined
          ? Number.parseInt(binaryDigits, 2)
          : Number.parseInt(octalDigits, 8);
    return sign === "-" ? 0 - value : value;
  }
  // Beyond all floats it stays text; there is no zero below zero.
  return FLOAT.test(plain) && Number.isFinite(Number(plain)) ? Number(plain) + 0 : text;
}

/** Only whole dates in their full form: what go-yaml makes of a shorter one nobody writes. */
function isDay(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}

const number: ScalarTag = {
  default: true,
  tag: "tag:yaml.org,2002:float",
  // Whatever could be one: what is none stays text.
  test: /^[-+.0-9]/,
  resolve: readPlain,
};

/** For the YAML library: beside lists, maps and text only null, true, false and these numbers. */
export const SCALARS: (tags: Tags) => Tags = (tags) => [...tags, "null", "bool", number, "merge"];

const TRUTHY = /^(?:[yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/;

/** Whether Flux and kubectl disagree about this word without quotes: text to one, true or false to the other. */
export function disputed(text: string): boolean {
  return TRUTHY.test(text);
}
