/** Where a command of the CLI reads and writes: given, so that it can be watched. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly readStdin: () => Promise<string>;
  /** Of this program. */
  readonly version: string;
}
