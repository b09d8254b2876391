/** What the demo prints: plain lines, and on a terminal one more at the end that says what is waited for. */
import { styleText } from "node:util";

export interface Screen {
  /** One line; while something is waited for, above it. */
  line(text?: string): void;
  heading(text: string): void;
  /** A stage of a journey, with its time since the push. */
  stage(ms: number, what: string, detail?: string): void;
  /** What came out of a command that one could type oneself. */
  command(text: string, output: string): void;
  /** Shows what is waited for, until the next call or `clear`. Nothing when nobody watches. */
  waiting(text: string): void;
  clear(): void;
}

/** A line that is drawn more often only flickers. */
const REDRAW_MS = 100;
/** Of what a command says. */
const MOST_LINES = 12;

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

const bold = (text: string): string => styleText("bold", text);
const dim = (text: string): string => styleText("dim", text);
const green = (text: string): string => styleText("green", text);

export function makeScreen(out: NodeJS.WriteStream = process.stdout): Screen {
  let shown = false;
  let drawnAt = 0;
  const clear = (): void => {
    if (shown) out.write("\r\x1b[2K");
    shown = false;
  };
  const line = (text = ""): void => {
    clear();
    out.write(`${text}\n`);
  };
  return {
    line,
    clear,
    heading: (text) => line(`\n${bold(text)}`),
    stage: (ms, what, detail) =>
      line(`  ${green(seconds(ms).padStart(8))}  ${what}${detail === undefined ? "" : `  ${dim(detail)}`}`),
    command(text, output) {
      line(`\n  ${dim("$")} ${bold(text)}`);
      const all = output.trimEnd().split("\n");
      const some = all.length > MOST_LINES ? all.slice(0, MOST_LINES - 2) : all;
      for (const each of some) line(`  ${each}`);
      if (some !== all) line(dim(`  and ${all.length - some.length} lines more`));
    },
    waiting(text) {
      if (!out.isTTY || (shown && Date.now() - drawnAt < REDRAW_MS)) return;
      drawnAt = Date.now();
      clear();
      out.write(dim(`  ${text}`.slice(0, Math.max(20, out.columns - 1))));
      shown = true;
    },
  };
}
