/** Ids that enter from outside: what they may look like, and how they become part of a path. */
import * as z from "zod";
import { TerminalError } from "./errors.ts";

/** Longer than any id that Keycloak, a gateway or the API server makes. */
const LONGEST_ID = 128;
/** Printable ASCII but for what has a meaning in a path or an address, and for quotes, which a shell command may stand in. */
const UPSTREAM_ID = /^[\x21-\x7e]{1,128}$/;
const MEANINGFUL = /[/\\?#%"'`$<>]/;

/** Fit to be kept, shown, and put into a path as one segment of it. */
export function isUpstreamID(value: unknown): value is string {
  return (
    typeof value === "string" &&
    value.length <= LONGEST_ID &&
    UPSTREAM_ID.test(value) &&
    !MEANINGFUL.test(value) &&
    value !== "." &&
    value !== ".."
  );
}

/** An id that an upstream gave as text. */
export const upstreamID = z.string().refine(isUpstreamID);
/** An id that an upstream gave as a number: no upstream counts from 0 or below. */
export const upstreamNumber = z.int().positive();

/** The id on record, which is a hint: one that cannot be used is as good as none. */
export function usableID(id: string | undefined): string | undefined {
  return isUpstreamID(id) ? id : undefined;
}

/** The same where there is no continuing without one. */
export function demandID(id: string): string {
  if (!isUpstreamID(id)) throw unfit(id);
  return id;
}

/**
 * One segment of a path. Throws a TerminalError where no encoding would keep it one: `..` is resolved away and reaches
 * another resource, and so does nothing at all.
 */
export function pathSegment(value: string): string {
  if (value !== "" && value !== "." && value !== "..") return encodeURIComponent(value.toWellFormed());
  throw unfit(value);
}

function unfit(value: string): TerminalError {
  return new TerminalError({
    code: "RequestRefused",
    message: `${JSON.stringify(value.slice(0, 64))} cannot be a part of a path, so the call was not made; correct the name or id.`,
  });
}
