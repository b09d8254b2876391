/** Text for terminals: what others wrote can neither move the cursor nor turn the reading direction. */
import { styleText } from "node:util";
import { plainText } from "../lib/text.ts";

export type Tone = "good" | "busy" | "bad" | "faint" | "strong" | "plain";
export type Paint = (tone: Tone, text: string) => string;

const STYLE = { good: "green", busy: "yellow", bad: "red", faint: "dim", strong: "bold" } as const;

export const plainly: Paint = (_tone, text) => text;

export const inColour: Paint = (tone, text) =>
  tone === "plain" ? text : styleText(STYLE[tone], text, { validateStream: false });

/** Colours only on a terminal that wants them (https://no-color.org). */
export function paintFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Paint {
  const wanted = stream.isTTY === true && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  return wanted ? inColour : plainly;
}

/** One line of what others wrote, with single spaces: messages, names and addresses come from tenants, upstreams and old rows. */
export function printable(text: string): string {
  return plainText(text).replaceAll(/\s+/gu, " ").trim();
}

export interface Cell {
  readonly text: string;
  readonly tone?: Tone;
}

/** Columns under their titles, three spaces apart, as kubectl has them; nothing at the ends of lines. */
export function table(titles: readonly string[], rows: readonly (readonly Cell[])[], paint: Paint): string {
  const lines = [titles.map((text): Cell => ({ text, tone: "faint" })), ...rows];
  const shown = lines.map((cells) => cells.map((cell) => ({ ...cell, text: printable(cell.text) || "-" })));
  const widths = titles.map((_title, column) => Math.max(...shown.map((cells) => width(cells[column]?.text ?? ""))));
  return shown
    .map((cells) => {
      const last = cells.length - 1;
      return cells
        .map(({ text, tone = "plain" }, column) => {
          const gap = column === last ? 0 : (widths[column] ?? 0) - width(text) + 3;
          return paint(tone, text) + " ".repeat(gap);
        })
        .join("");
    })
    .map((line) => `${line}\n`)
    .join("");
}

/** In code points: enough for names and addresses, which are ASCII by rule. */
function width(text: string): number {
  return Array.from(text).length;
}

/** Words in lines of at most `columns`; each line after the first stands behind `indent`, which is not counted. */
export function wrapped(text: string, columns: number, indent = ""): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && width(longer) > columns) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  lines.push(line);
  return lines.join(`\n${indent}`);
}

/** "2026-05-01 12:00:03Z"; what is no time is given back. */
export function moment(at: string): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime())
    ? printable(at)
    : time
        .toISOString()
        .replace("T", " ")
        .replace(/\.\d+Z$/, "Z");
}

/** "12 s", "5 min", "3 h", "2 d": how long it is between two moments. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** "12 s ago", or "in 12 s". */
export function fromNow(at: string, now: Date): string {
  const ms = now.getTime() - new Date(at).getTime();
  return ms >= 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}
