/**
 * YAML for every reader: kubectl reads it as YAML 1.1, Flux as go-yaml v3 does, editors as YAML 1.2. A text that one of them
 * could take for something else (`no`, `on`, `y`, `1e3`, `0o17`, `2026-01-01`, `12:30`, `<<`) stands in quotes, as a key too.
 */
import { Document, isScalar, type ParsedNode, visit } from "yaml";

/** Begins with a letter or a slash: no number of any kind, no date, no sign. */
const PLAIN = /^[A-Za-z./][\x20-\x7e\u00a1-\ud7ff\ue000-\ufefe]*$/;
/** `./users`, `../x`, `.spec.email`: no `.5`, no `.inf`. */
const DOTTED = /^\.(?:\.?\/|[A-Za-z]+\.)/;
/** In every way of writing them in capitals: a reader more careful than needed is no harm. */
const WORDS = /^(?:y|n|yes|no|on|off|true|false|null|nan|inf|e[-+0-9_.]+)$/i;
/** Line breaks to YAML 1.1 alone, and what not every reader lets through. */
// eslint-disable-next-line no-control-regex
const UNEVEN = /[\u007f-\u00a0\u2028\u2029\ufeff]|[^\t\n\x20-\u{10ffff}]|[\ud800-\udfff]|[\ufffe\uffff]/u;

function isUncertain(text: string): boolean {
  if (text.includes("\n")) return UNEVEN.test(text) || /^\s/.test(text) || /[ \t]$/m.test(text);
  if (!PLAIN.test(text) || WORDS.test(text)) return true;
  return UNEVEN.test(text) || (text.startsWith(".") && !DOTTED.test(text));
}

/** A value as one YAML document. */
export function toYAML(value: unknown): string {
  return documentText(new Document(value, { aliasDuplicateObjects: false }));
}

/** A document, its comments kept. What it holds already in quotes stays so. */
export function documentText(document: Document | Document<ParsedNode>): string {
  visit(document, {
    Scalar(_key, node) {
      if (isScalar(node) && typeof node.value === "string" && isUncertain(node.value)) node.type = "QUOTE_DOUBLE";
    },
  });
  return document
    .toString({ lineWidth: 0, flowCollectionPadding: false, defaultKeyType: null })
    .replaceAll(
      /[\u007f-\u00a0\u2028\u2029\ufeff]/g,
      (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}
