import type { Pool } from "pg";
import type { Jobs } from "../lib/jobs.ts";
import type { Log } from "../lib/log.ts";
import { keepAudit } from "../store/audit.ts";
import { record } from "../store/claims.ts";
import { handOver, moveEmail, takeOver } from "../store/moves.ts";
import { loadSaga } from "../store/sagas.ts";
import { firstPendingUser, forgetBindRequest } from "../store/waiting.ts";
import type { OutboxPump } from "./outboxPump.ts";
import type { ClaimDeps } from "./claim.ts";

export type ClaimStore = Pick<
  ClaimDeps,
  "record" | "keepAudit" | "moveEmail" | "firstPendingUser" | "forgetPendingUser" | "handOver" | "takeOver" | "sagaOf"
>;

/** What a claim reads and writes in Postgres. */
export function makeClaimStore(deps: {
  readonly pool: Pool;
  readonly outbox: Pick<OutboxPump, "notify">;
  readonly jobs: Pick<Jobs, "run">;
  /** For metrics: an audit entry that cannot be kept. */
  readonly skipped: () => void;
  readonly log: Log;
}): ClaimStore {
  const { pool, outbox, jobs, skipped, log } = deps;
  return {
    async record(claim, recording) {
      const recorded = await record(pool, claim, recording);
      if (recording.events.length > 0) outbox.notify();
      return recorded;
    },
    keepAudit: (entries) =>
      jobs.run({ queue: `audit/${entries[0]?.tenantID ?? ""}`, key: entries[0]?.id ?? "" }, () =>
        keepAudit(pool, entries, ({ uuid, step, action }, error) => {
          skipped();
          const outcome = "skipped";
          log.warn("failed to keep an audit entry; the others are kept", { saga: uuid, step, action, outcome, error });
        }),
      ),
    moveEmail: (row, email) => moveEmail(pool, row, email),
    firstPendingUser: (tenantID, email) => firstPendingUser(pool, tenantID, email),
    forgetPendingUser: (uid) => forgetBindRequest(pool, uid),
    handOver: (claim, to) => handOver(pool, claim, to),
    takeOver: (claim, uuid) => takeOver(pool, claim, uuid),
    sagaOf: (uuid) => loadSaga(pool, uuid),
  };
}
