/** A secret that may stand in a file, which whoever mounts it can change while we run. */
import { readFileSync } from "node:fs";
import type { Sensitive } from "./sensitive.ts";

/** The value at this moment; asked for at each new connection. */
export type SecretSource = () => string;

/**
 * Reads the file again each time it is asked. While the file cannot be read, or holds nothing that will do, the last value
 * that did stays in use: a mount that is being changed must not end the connections.
 */
export function secretSource(
  first: Sensitive,
  path: string | undefined,
  willDo: (text: string) => boolean = (text) => text !== "",
): SecretSource {
  let last = first.reveal();
  if (path === undefined) return () => last;
  return () => {
    try {
      const text = readFileSync(path, "utf8").trim();
      if (willDo(text)) last = text;
    } catch {
      // As before.
    }
    return last;
  };
}
