/** Spans of time as people write them: "30s", "1h30m", "7d". Kubernetes' own durations have no days; ours do. */

/** Each unit at most six digits, so that no sum leaves the safe integers. */
export const DURATION_PATTERN = "^(?:[0-9]{1,6}[dhms])+$";
const DURATION = new RegExp(DURATION_PATTERN, "u");

const MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 };

/** A hundred years: what ends later has no date that Kubernetes could write. */
const LONGEST_MS = 36_525 * 86_400_000;

/** Milliseconds, a hundred years at most. Throws on what {@link DURATION_PATTERN} does not match. */
export function parseDuration(text: string): number {
  if (!DURATION.test(text)) throw new TypeError(`not a duration: ${JSON.stringify(text)}`);
  let ms = 0;
  for (const [, digits, unit = ""] of text.matchAll(/([0-9]+)([dhms])/guy)) ms += Number(digits) * (MS[unit] ?? 0);
  return Math.min(LONGEST_MS, ms);
}
