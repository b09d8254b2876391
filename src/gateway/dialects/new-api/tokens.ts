import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import { listOf } from "../../../lib/answers.ts";
import { systemClock } from "../../../lib/clock.ts";
import { TransientError } from "../../../lib/errors.ts";
import { readAll } from "../../../lib/paging.ts";
import { Sensitive } from "../../../lib/sensitive.ts";
import { isNotFound, refusal } from "./envelope.ts";
import type { Session } from "./session.ts";
import { terminal, unavailable } from "../../failures.ts";

const OURS = "unified-rbac";
const ALIVE = 1;
const PAGE_SIZE = 100;
/** Of one user; the gateway lets a user have 1,000 tokens as shipped. */
const MOST = 5_000;
const WITHIN_MS = 120_000;
/** As the gateway makes them, with or without the prefix that it accepts. */
const KEY = /^(?:sk-)?([0-9A-Za-z]{16,256})$/;

/** As the list shows it: enough on either side that no other key of the same person fits. */
const MASKED = /^(?:sk-)?([0-9A-Za-z]{4,})\*+([0-9A-Za-z]{4,})$/;

const token = z.object({
  id: z.int().positive(),
  name: z.string().max(1_000),
  status: z.int(),
  key: z.string().max(1_000),
});
const page = z.object({
  items: listOf(token)
    .refine((items) => items.length <= 10 * PAGE_SIZE)
    .nullable(),
  total: z.int().nonnegative(),
});
const revealed = z.object({ key: z.string().regex(KEY) });

export interface Token {
  readonly id: number;
  readonly name: string;
  readonly alive: boolean;
  /** In gateways of old the list shows it; since then it is masked there. */
  readonly key: Sensitive | undefined;
  /** What the list shows of the key besides: its beginning and its end. */
  readonly ends: readonly [string, string] | undefined;
}

/** A person's key of this version, by its name at the gateway: what is repeated finds what it made. */
export function tokenName(version: string): string {
  return `${OURS}-${version}`;
}

/** Our tokens among the person's, the oldest first; others are none of our business. */
export async function ourTokens(session: Session, signal: AbortSignal): Promise<Token[]> {
  return (await allTokens(session, signal)).filter(({ name }) => name === OURS || name.startsWith(`${OURS}-`));
}

/** All of the person's, the oldest first: what must not outlive the account. */
export async function allTokens(session: Session, signal: AbortSignal): Promise<Token[]> {
  const doing = "the look at a user's tokens";
  const found: Token[] = [];
  const paging = { what: "a user's tokens", upstream: "newapi", code: REASON.UpstreamUnavailable } as const;
  await readAll({ ...paging, mostItems: MOST, withinMs: WITHIN_MS, clock: systemClock }, 1, async (number) => {
    const path = `/api/token/?p=${number}&page_size=${PAGE_SIZE}`;
    const said = await session.call({ method: "GET", path }, doing, signal);
    if (said.kind === "refused") throw refusal(said, doing);
    const parsed = page.safeParse(said.data);
    if (!parsed.success) throw unreadable(doing);
    const items = parsed.data.items ?? [];
    found.push(...items.map(tokenOf));
    const isLast = items.length === 0 || found.length >= parsed.data.total;
    return { items: Math.max(1, items.length), next: isLast ? undefined : number + 1 };
  });
  return found.toSorted((a, b) => a.id - b.id);
}

function tokenOf({ id, name, status, key }: z.infer<typeof token>): Token {
  return { id, name, alive: status === ALIVE, key: KEY.test(key) ? withPrefix(key) : undefined, ends: endsOf(key) };
}

/** Answers nothing: who wants it must look for it. */
export async function createToken(session: Session, name: string, signal: AbortSignal): Promise<void> {
  const doing = "the creation of a token";
  const body = {
    name,
    expired_time: -1,
    unlimited_quota: true,
    group: "",
    model_limits_enabled: false,
    model_limits: "",
    allow_ips: "",
  };
  const said = await session.call({ method: "POST", path: "/api/token/", body }, doing, signal);
  if (said.kind === "done") return;
  if (/最大令牌数量|maximum/i.test(said.message)) {
    throw terminal(
      REASON.RequestRefused,
      `The person has as many tokens as the gateway allows (${said.message}); some must be deleted there.`,
    );
  }
  throw refusal(said, doing);
}

/** The key of a token; a critical call, unless the list has shown it. */
export async function revealToken(session: Session, token: Token, signal: AbortSignal): Promise<Sensitive> {
  if (token.key !== undefined) return token.key;
  const doing = "the look at a token's key";
  const said = await session.call({ method: "POST", path: `/api/token/${token.id}/key` }, doing, signal, "critical");
  if (said.kind === "refused") throw refusal(said, doing);
  const parsed = revealed.safeParse(said.data);
  if (!parsed.success) throw unreadable(doing);
  return withPrefix(parsed.data.key);
}

/** One that is gone is success. */
export async function deleteToken(session: Session, id: number, signal: AbortSignal): Promise<void> {
  const doing = "the deletion of a token";
  const said = await session.call({ method: "DELETE", path: `/api/token/${id}` }, doing, signal);
  if (said.kind === "refused" && !isNotFound(said)) throw refusal(said, doing);
}

/** Whether this can be the token of that key, by as much of it as the list shows. */
export function mayBe({ key, ends }: Token, wanted: Sensitive): boolean {
  if (key !== undefined) return key.equals(wanted);
  const body = KEY.exec(wanted.reveal())?.[1];
  return body !== undefined && ends !== undefined && body.startsWith(ends[0]) && body.endsWith(ends[1]);
}

function endsOf(shown: string): readonly [string, string] | undefined {
  const [, begin, end] = MASKED.exec(shown) ?? [];
  return begin === undefined || end === undefined ? undefined : [begin, end];
}

function withPrefix(key: string): Sensitive {
  return new Sensitive(`sk-${KEY.exec(key)?.[1] ?? ""}`);
}

/** Its body is left out: a key may stand in it. */
function unreadable(doing: string): TransientError {
  return unavailable(`The gateway's answer to ${doing} could not be read.`, { upstreamStatus: 200 });
}
