import { type DestinationStream, type Logger, pino } from "pino";
import type { LogLevel } from "./configVariables.ts";
import { isSagaError, redact } from "./errors.ts";
import { cutBytes, plainText } from "./text.ts";

/** The keys that every line shares, so that one query follows one person, one object or one step. */
export interface LogFields {
  /** The saga's uuid. */
  readonly saga?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  /** metadata.generation. */
  readonly generation?: number | undefined;
  readonly step?: string | undefined;
  readonly attempt?: number | undefined;
  readonly outcome?: string | undefined;
  readonly ms?: number | undefined;
  /** Written as name, code, message and, for what nobody expected, the stack. */
  readonly error?: unknown;
  readonly [key: string]: unknown;
}

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with these fields on every line. */
  with(fields: LogFields): Log;
}

const SECRET_FIELDS = /^(api-?_?key|key|token|password|secret|client-?_?secret|authorization|cookie|database_?url)$/i;
const DEEPEST = 4;
/** Of a list or an object, so many entries. */
const WIDEST = 64;
const MESSAGE_BYTES = 1024;

/** JSON lines to stdout, or to `destination`. Every text in a field is cut to 256 bytes and freed of credentials. */
export function makeLog(
  options: { level: LogLevel; role: string; version?: string | undefined },
  destination?: DestinationStream,
): Log {
  const settings = {
    level: options.level,
    base: { role: options.role, version: options.version },
    messageKey: "msg",
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return wrap(destination === undefined ? pino(settings) : pino(settings, destination));
}

/** Swallows everything. */
export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  with: () => silentLog,
};

function wrap(logger: Logger): Log {
  return {
    debug: (message, fields = {}) => logger.debug(cleanFields(fields), oneLine(message)),
    info: (message, fields = {}) => logger.info(cleanFields(fields), oneLine(message)),
    warn: (message, fields = {}) => logger.warn(cleanFields(fields), oneLine(message)),
    error: (message, fields = {}) => logger.error(cleanFields(fields), oneLine(message)),
    with: (fields) => wrap(logger.child(cleanFields(fields))),
  };
}

function oneLine(message: string): string {
  return plainText(cutBytes(message, MESSAGE_BYTES));
}

/** Fields as they may be shown: texts cut and freed of credentials. */
export function cleanFields(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, cleanValue(key, value, 0)]));
}

function cleanValue(key: string, value: unknown, depth: number): unknown {
  if (value === undefined || value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (SECRET_FIELDS.test(key)) return "[redacted]";
  if (typeof value === "string") return redact(value);
  if (value instanceof Error) return cleanError(value);
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || depth >= DEEPEST) return `[${typeof value}]`;
  // Sensitive, URL: they know best how they want to be shown.
  if ("toJSON" in value && typeof value.toJSON === "function") return cleanValue(key, value.toJSON(), depth + 1);
  if (Array.isArray(value)) return value.slice(0, WIDEST).map((entry) => cleanValue(key, entry, depth + 1));
  const entries = Object.entries(value).slice(0, WIDEST);
  return Object.fromEntries(entries.map(([name, entry]) => [name, cleanValue(name, entry, depth + 1)]));
}

function cleanError(error: Error, depth = 0, expected = isSagaError(error)): Record<string, unknown> {
  // What lies behind an error of ours was expected too: its message says enough.
  const cause =
    error.cause instanceof Error && depth < DEEPEST ? cleanError(error.cause, depth + 1, expected) : undefined;
  const shown = { name: error.name, message: redact(error.message), cause };
  if (isSagaError(error)) {
    return { ...shown, class: error.class, code: error.code, upstream: error.upstream, status: error.upstreamStatus };
  }
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return { ...shown, code, stack: expected ? undefined : frames(error.stack) };
}

/** Only the frames: a stack begins with the message, which may hold what must not be shown. */
function frames(stack: string | undefined): string[] | undefined {
  return stack
    ?.split("\n")
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 8)
    .map((line) => line.trim());
}
