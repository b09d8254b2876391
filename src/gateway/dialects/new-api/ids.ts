import { REASON } from "../../../api/reasons.ts";
import { terminal } from "../../failures.ts";

declare const brand: unique symbol;
/**
 * The numeric id of an account that may be changed. A change without an id, or with 0, falls on the gateway's first user,
 * its root: so nothing that changes an account takes anything but this, and only {@link userID} makes it.
 */
export type UserID = number & { readonly [brand]: "UserID" };

/** The first user of every gateway. */
const ROOT = 1;

/** Undefined for whatever is no positive integer, for the root's id, and for the id of the admin that we are. */
export function userID(value: unknown, admin: number): UserID | undefined {
  const id = typeof value === "string" && /^[1-9]\d{0,15}$/.test(value) ? Number(value) : value;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id <= ROOT || id === admin) return undefined;
  return id as UserID;
}

/** The same where there is no in progress without one; at the last moment too, against a cast on the way. */
export function demandUserID(value: unknown, admin: number, doing: string): UserID {
  const id = userID(value, admin);
  if (id !== undefined) return id;
  throw terminal(
    REASON.RequestRefused,
    `The gateway's user id on record is not one that may be changed (none, its root's, or our admin's own), so ${doing} was not tried; correct the record.`,
  );
}
