import type { Figure } from "./figures.ts";
import type { Environment } from "./environment.ts";

/** One part of the benchmark: `make bench ONLY=<name>`. */
export interface Part {
  readonly name: string;
  /** For the screen and the page. */
  readonly title: string;
  /** Gets ready what all runs need; `run` measures once, ours and floor right after each other. */
  prepare(environment: Environment): Promise<Prepared>;
}

export interface Prepared {
  run(): Promise<readonly Figure[]>;
  close(): Promise<void>;
}
