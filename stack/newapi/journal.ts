import { sha256 } from "./accounts.ts";
import type { Call } from "./exchange.ts";

/** One call, as it arrived; `status` and `durationMs` follow when it ends. Holds no token and no key. */
export interface Entry {
  /** 1, 2, 3 ... in order of arrival; continues counting when the journal is emptied. */
  readonly seq: number;
  readonly time: string;
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Null while the call is under way, and for ever when no answer was sent (hang, drop). */
  status: number | null;
  durationMs: number | null;
  readonly idempotencyKey: string | null;
  readonly externalID: string | null;
  /** The API key that was presented, as the first 12 hex digits of its SHA-256; null for calls of the admin API. */
  readonly keySHA256: string | null;
  /** The fault that decided over this call, by its id. */
  fault: string | null;
}

export interface Journal {
  /** The entry is complete once `end` was called with the answer's status, or null for none. */
  begin(call: Call, externalID: string | undefined): { readonly entry: Entry; end(status: number | null): void };
  /** Entries with a greater seq, oldest first. */
  since(seq: number): readonly Entry[];
  clear(): void;
}

/** A demo left running for weeks must not fill the memory: beyond this the oldest entries go. */
const LIMIT = 100_000;

export function makeJournal(): Journal {
  const entries: Entry[] = [];
  let seq = 0;
  return {
    begin(call, externalID) {
      const startedAt = performance.now();
      const query = call.query.toString();
      const entry: Entry = {
        seq: ++seq,
        time: new Date().toISOString(),
        method: call.method,
        path: query === "" ? call.path : `${call.path}?${query}`,
        status: null,
        durationMs: null,
        idempotencyKey: call.idempotencyKey ?? null,
        externalID: externalID ?? null,
        keySHA256: call.path.startsWith("/v1/") && call.bearer !== undefined ? sha256(call.bearer).slice(0, 12) : null,
        fault: null,
      };
      entries.push(entry);
      if (entries.length > LIMIT) entries.shift();
      return {
        entry,
        end(status) {
          entry.status = status;
          entry.durationMs = Math.round(performance.now() - startedAt);
        },
      };
    },
    since: (after) => entries.filter((entry) => entry.seq > after),
    clear() {
      entries.length = 0;
    },
  };
}
