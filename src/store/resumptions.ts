/** Whose pause ends when what held them back is gone. */
import { type Queryable, written } from "./sagas.ts";

/** Ends every pause: due at a random moment within the milliseconds that are the second parameter. */
const DUE_SOON = `due_at = now() + make_interval(secs => random() * $2::float8 / 1000), backoff_until = null,
             blocked_on = null, touches = touches + 1`;

/** Somebody for whom something is still to be done. */
const UNSETTLED = `(state in ('pending', 'kc_created', 'newapi_created', 'secret_applied', 'failed', 'deleting')
                  or (state = 'done' and (run is not null or due_at is not null)))`;

/**
 * The tenant became ready, or its upstream answers again: whoever is not settled resumes, over `spreadMs`. Of those who
 * wait for a person, the ones stopped by an error of one of these codes.
 */
export async function touchUnsettled(
  db: Queryable,
  tenantID: string,
  spreadMs: number,
  resumed: readonly string[] = [],
): Promise<number> {
  return written(db, {
    name: "touch-unsettled",
    text: `update user_provision_state
           set ${DUE_SOON}
           where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null
             and (blocked_on is null or last_error->>'code' = any($3::text[]))
             and ${UNSETTLED}`,
    values: [tenantID, spreadMs, resumed],
  });
}

/** Whoever of these tenants waits for this resumes now, over `spreadMs`. Returns how many. */
export async function touchWaiting(
  db: Queryable,
  tenantIDs: readonly string[],
  code: string,
  spreadMs: number,
): Promise<number> {
  return written(db, {
    name: "touch-waiting",
    text: `update user_provision_state
           set due_at = now() + make_interval(secs => random() * $3::float8 / 1000), backoff_until = null,
             touches = touches + 1
           where sme_tenant_id = any($1::text[]) and confirmed_at is not null and voided_at is null
             and blocked_on is null and backoff_until is not null and last_error->>'code' = $2`,
    values: [tenantIDs, code, spreadMs],
  });
}

/** What somebody who is held back by an upstream that is silent was told: no status, or one by which it says so. */
const GOT_NO_ANSWER = `last_error->>'class' = 'transient' and last_error->>'code' = 'UpstreamUnavailable'
  and coalesce(last_error->>'upstreamStatus', '429') in ('429', '502', '503', '504')`;

export interface Resumption {
  /** Steps that call the upstream which is back. */
  readonly steps: readonly string[];
  readonly spreadMs: number;
  /** Those who were stopped by an error of one of these codes are resumed as well. */
  readonly resumed?: readonly string[];
}

/**
 * An upstream is back: its tenant's people who were held because of it are due, over `spreadMs`. Who is in a pause of their
 * own (their mail is refused, another upstream is away) stays there: what they were refused for is as it was.
 */
export async function resumeHeld(
  db: Queryable,
  tenantID: string,
  { steps, spreadMs, resumed = [] }: Resumption,
): Promise<number> {
  return written(db, {
    name: "resume-held",
    text: `update user_provision_state
           set ${DUE_SOON}
           where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null
             and case when blocked_on is not null then last_error->>'code' = any($3::text[])
                      when backoff_until > now() then last_error->>'step' = any($4::text[]) and ${GOT_NO_ANSWER}
                      else true end
             and ${UNSETTLED}`,
    values: [tenantID, spreadMs, resumed, steps],
  });
}
