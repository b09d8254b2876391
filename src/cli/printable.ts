/**
 * What may go to a terminal: no control characters but line break and tab, nothing that turns the direction of writing.
 * What is shown comes in part from tenants' manifests and from neighbours.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (found) =>
    found === "\n" || found === "\t" ? found : "\ufffd",
  );
}
