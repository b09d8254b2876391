import { inspect } from "node:util";

/**
 * A value that must not be printed: an API key, a password, a bearer token.
 * Every way a value usually leaks (template strings, JSON, console, pino, an error's cause) shows `[redacted]`;
 * only `reveal()` gives it out, so each place that uses the plain value can be found by that word.
 */
export class Sensitive {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  equals(other: Sensitive): boolean {
    return this.#value === other.#value;
  }

  toString(): string {
    return "[redacted]";
  }

  toJSON(): string {
    return "[redacted]";
  }

  [inspect.custom](): string {
    return "[redacted]";
  }
}
