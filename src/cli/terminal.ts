/** Where a command of the CLI reads and writes: given, so that it can be watched. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly readStdin: () => Promise<string>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Of this program. */
  readonly version: string;
  /** Whether this program also runs the roles of the service. */
  readonly hasRoles: boolean;
}
