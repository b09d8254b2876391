import * as z from "zod";

import { type Call, json, type Reply } from "./exchange.ts";

const answerWith = z.strictObject({
  status: z.int().min(200).max(599),
  /** A string is sent as it is, anything else as JSON. */
  body: z.unknown().optional(),
  headers: z.record(z.string(), z.string()).default({}),
  /** Seconds, or an HTTP date. */
  retryAfter: z.union([z.int().nonnegative(), z.string()]).optional(),
});

/** How a call can go wrong. Only `latencyMs`, `dropAfter` and `truncated` let the gateway do the work. */
const action = z.union([
  answerWith,
  /** 429 with this Retry-After. */
  z.strictObject({ retryAfter: z.union([z.int().nonnegative(), z.string()]) }),
  /** Waits, then does the work and answers, even when the caller has gone: the late call that still arrives. */
  z.strictObject({ latencyMs: z.int().nonnegative().max(600_000) }),
  /** Never answers. */
  z.strictObject({ hang: z.literal(true) }),
  /** Does the work, then destroys the connection: the lost reply. */
  z.strictObject({ dropAfter: z.literal(true) }),
  z.strictObject({ dropBefore: z.literal(true) }),
  /** Does the work, then sends the first half of the answer, well framed. */
  z.strictObject({ truncated: z.literal(true) }),
  /** A proxy's page, with status 200. */
  z.strictObject({ html: z.literal(true) }),
  /** JSON with status 200 that nobody asked for. */
  z.strictObject({ nonsense: z.literal(true) }),
]);

const pattern = z.string().transform((text, context) => {
  try {
    return new RegExp(text);
  } catch {
    context.addIssue("is no regular expression");
    return z.NEVER;
  }
});

export const faultOrder = z.strictObject({
  match: z
    .strictObject({
      method: z.string().optional(),
      /** A regular expression over the path without the query. */
      path: pattern.optional(),
      externalID: z.string().optional(),
    })
    .default({}),
  /** How many calls it hits; without it, all until it is deleted. */
  count: z.int().positive().optional(),
  /** How many calls that it would hit pass first. */
  after: z.int().nonnegative().default(0),
  action,
});

export type FaultOrder = z.input<typeof faultOrder>;

/** What to do with one call. */
export type Verdict =
  | { readonly kind: "none" | "hang" | "dropBefore" | "dropAfter" | "truncated" }
  | { readonly kind: "reply"; readonly reply: Reply };

export interface Plan {
  /** Waited before anything else. */
  readonly latencyMs: number;
  readonly verdict: Verdict;
  readonly fault: string | null;
}

interface Fault {
  readonly id: string;
  readonly order: z.output<typeof faultOrder>;
  hits: number;
  passed: number;
}

export interface Faults {
  add(order: z.output<typeof faultOrder>): string;
  /** Counts the faults that it uses: latencies add up, the first other one decides. */
  take(call: Call, externalID: string | undefined): Plan;
  /** False when there is no such fault. */
  remove(id: string): boolean;
  clear(): void;
  all(): readonly { readonly id: string; readonly hits: number }[];
}

export function makeFaults(): Faults {
  const faults = new Map<string, Fault>();
  let counter = 0;
  return {
    add(order) {
      const id = `f${++counter}`;
      faults.set(id, { id, order, hits: 0, passed: 0 });
      return id;
    },
    take(call, externalID) {
      let latencyMs = 0;
      let slow: string | null = null;
      for (const fault of faults.values()) {
        if (!hits(fault, call, externalID)) continue;
        if (fault.passed < fault.order.after) {
          fault.passed++;
          continue;
        }
        fault.hits++;
        if (!("latencyMs" in fault.order.action)) {
          return { latencyMs, verdict: verdictOf(fault.order.action), fault: fault.id };
        }
        latencyMs += fault.order.action.latencyMs;
        slow ??= fault.id;
      }
      return { latencyMs, verdict: { kind: "none" }, fault: slow };
    },
    remove: (id) => faults.delete(id),
    clear: () => faults.clear(),
    all: () => [...faults.values()].map(({ id, order, hits: used }) => ({ id, hits: used, action: order.action })),
  };
}

function hits({ order, hits: used }: Fault, call: Call, externalID: string | undefined): boolean {
  const { match, count } = order;
  if (count !== undefined && used >= count) return false;
  if (match.method !== undefined && match.method.toUpperCase() !== call.method) return false;
  if (match.path !== undefined && !match.path.test(call.path)) return false;
  return match.externalID === undefined || match.externalID === externalID;
}

function verdictOf(wanted: Exclude<z.output<typeof action>, { latencyMs: number }>): Verdict {
  if ("status" in wanted) return { kind: "reply", reply: replyOf(wanted) };
  if ("retryAfter" in wanted) {
    return { kind: "reply", reply: replyOf({ ...wanted, status: 429, body: "", headers: {} }) };
  }
  if ("hang" in wanted) return { kind: "hang" };
  if ("dropAfter" in wanted) return { kind: "dropAfter" };
  if ("dropBefore" in wanted) return { kind: "dropBefore" };
  if ("truncated" in wanted) return { kind: "truncated" };
  if ("html" in wanted) {
    const body = "<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>";
    return { kind: "reply", reply: { status: 200, headers: { "content-type": "text/html" }, body } };
  }
  return { kind: "reply", reply: json(200, { nonsense: wanted.nonsense }) };
}

function replyOf({ status, body, headers, retryAfter }: z.output<typeof answerWith>): Reply {
  const plain =
    typeof body === "string" || body === undefined
      ? { status, headers: { "content-type": "text/plain" }, body: body ?? "" }
      : json(status, body);
  const all: Record<string, string> = { ...plain.headers };
  if (retryAfter !== undefined) all["retry-after"] = String(retryAfter);
  for (const [name, value] of Object.entries(headers)) all[name.toLowerCase()] = value;
  return { ...plain, headers: all };
}
