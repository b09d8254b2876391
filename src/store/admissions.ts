/** What admission writes: one round trip for as many as came together. */
import type { Cause } from "../saga/row.ts";
import type { Pool } from "./pool.ts";
import { jsonb } from "./values.ts";

/** What admission has seen of an object. */
export interface AdmissionCandidate {
  /** The uuid that the object would get where nothing else decides; undefined: admission cannot tell. */
  readonly uuid: string | undefined;
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
  readonly objectUID: string;
  readonly namespace: string;
  readonly name: string;
  /** The object is being made: nothing can be known of it yet. */
  readonly isNew: boolean;
  /** Of a new one: give it to learn whether the tenant is full. */
  readonly maxUsers: number | undefined;
  /** The request that asks for something; absent: nothing is asked for that was not before. */
  readonly cause?: Cause | undefined;
}

export interface CandidateRecord {
  readonly inserted: boolean;
  readonly touched: boolean;
  /** Another living object of the tenant that has this email; without a name where it is in another namespace. */
  readonly heldBy: { readonly namespace: string | undefined; readonly name: string | undefined } | undefined;
  readonly full: boolean;
}

/**
 * One object that is being made, of a tenant without a limit. Who comes alone waits for nothing else, and arrays are planned
 * again each time, which takes as long as the rest. Both are functions of the database (src/store/migrations): the webhook's
 * role may call them, and has no right to a table of people.
 */
const RECORD_ONE = "select * from record_candidate($1, $2, $3, $4, $5, $6, $7)";

const RECORD_MANY = "select * from record_candidates($1, $2, $3, $4, $5, $6, $7, $8, $9)";

interface CandidateAnswer {
  readonly touched: boolean;
  readonly inserted: boolean;
  readonly held_by: string | null;
  readonly is_full: boolean;
}

/** Records them all or, when it throws pg's error, perhaps some of them; answers in their order. May be repeated. */
export async function recordCandidates(
  pool: Pool,
  candidates: readonly AdmissionCandidate[],
): Promise<CandidateRecord[]> {
  const made = candidates.filter(({ isNew }) => isNew);
  const changed = candidates.filter(({ isNew }) => !isNew);
  if (made.length === 0 || changed.length === 0) return write(pool, candidates);
  const [ofMade, ofChanged] = await Promise.all([write(pool, made), write(pool, changed)]);
  const records = new Map([...made, ...changed].map((candidate, n) => [candidate, [...ofMade, ...ofChanged][n]]));
  return candidates.map((candidate) => records.get(candidate) as CandidateRecord);
}

/** All of them new, or none. */
async function write(pool: Pool, alike: readonly AdmissionCandidate[]): Promise<CandidateRecord[]> {
  const [first] = alike;
  if (first === undefined) return [];
  if (alike.length === 1 && first.isNew && first.maxUsers === undefined) {
    const values = [...ofEach(first), causeOf(first)];
    return answers(alike, await pool.query<CandidateAnswer>({ name: "record-one", text: RECORD_ONE, values }));
  }
  const all = alike.map(valuesOf);
  const values = valuesOf(first).map((_, at) => all.map((of) => of[at]));
  return answers(
    alike,
    await pool.query<CandidateAnswer>({ name: "record-many", text: RECORD_MANY, values: [first.isNew, ...values] }),
  );
}

/** In the order of the functions' parameters, for one and for several. */
function valuesOf(candidate: AdmissionCandidate): unknown[] {
  return [...ofEach(candidate), candidate.maxUsers ?? null, causeOf(candidate)];
}

function ofEach({ uuid, objectUID, tenantID, email, namespace, name }: AdmissionCandidate): unknown[] {
  return [uuid ?? null, objectUID, tenantID, email, namespace, name];
}

function causeOf({ cause }: AdmissionCandidate): string | null {
  return cause === undefined ? null : jsonb(cause);
}

function answers(
  seen: readonly AdmissionCandidate[],
  { rows }: { readonly rows: readonly CandidateAnswer[] },
): CandidateRecord[] {
  return rows.map((row, n) => ({
    inserted: row.inserted,
    touched: row.touched,
    heldBy: row.held_by === null ? undefined : holder(row.held_by, seen[n]),
    full: row.is_full,
  }));
}

function holder(name: string, seen: AdmissionCandidate | undefined): CandidateRecord["heldBy"] {
  return name === "" ? { namespace: undefined, name: undefined } : { namespace: seen?.namespace, name };
}
