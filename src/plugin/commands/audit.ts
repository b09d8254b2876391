/** The audit: of one person, as a table, or of everybody since a moment, as lines for another program. */
import { parseDuration } from "../../api/duration.ts";
import type { AuditView } from "../../api/operator.ts";
import { shownJSON } from "../../lib/text.ts";
import { EXIT, type Exit, PluginError } from "../exit.ts";
import type { CommandSession } from "../session.ts";
import { moment } from "../text.ts";
import { type Column, listed } from "./listing.ts";
import { unknownUser, whoIsMeant } from "./show.ts";

const WHEN: Column<AuditView> = ["WHEN", ({ at }) => moment(at)];
const UUID: Column<AuditView> = ["UUID", ({ uuid }) => uuid];
const WHAT: readonly Column<AuditView>[] = [
  ["STEP", ({ step }) => ({ text: step, tone: step === "operator" ? "busy" : "plain" })],
  ["ACTION", ({ action }) => action],
  ["TARGET", ({ target = "" }) => target],
  ["DETAIL", detailText],
];

export interface AuditOptions {
  readonly uuid?: string;
  readonly all?: boolean;
  readonly tenant?: string;
  /** A duration before now, or RFC 3339. */
  readonly since?: string;
}

export async function audit(session: CommandSession, name: string | undefined, options: AuditOptions): Promise<Exit> {
  const { uuid, all, tenant } = options;
  const since = options.since === undefined ? undefined : momentOf(options.since, session.now());
  if (all === true || tenant !== undefined) {
    if (name === undefined && uuid === undefined) return auditOfAll(session, since, tenant);
    throw new PluginError(EXIT.usage, "Name one person, or say --all or --tenant.");
  }
  const who = await whoIsMeant(session, name, uuid);
  const found = await (await session.operator()).people(who);
  if (found.sagas.length === 0) throw unknownUser(who);
  const entries = found.audit.filter(({ at }) => since === undefined || Date.parse(at) >= since.getTime());
  return listed(
    session,
    { ...found, audit: entries },
    {
      rows: entries,
      columns: [WHEN, ...(found.sagas.length > 1 ? [UUID] : []), ...WHAT],
      more: found.truncated ? `Only the newest ${found.audit.length} entries are shown.` : undefined,
    },
  );
}

/** As JSON one entry a line, as they come: there may be millions. */
async function auditOfAll(session: CommandSession, since: Date | undefined, tenant: string | undefined): Promise<Exit> {
  const operator = await session.operator();
  for await (const { entries } of operator.audit({ since, tenant })) {
    if (session.format === "json") {
      for (const entry of entries) session.out(`${shownJSON(JSON.stringify(entry))}\n`);
    } else if (entries.length > 0) {
      listed(session, entries, {
        rows: entries,
        columns: [WHEN, ["TENANT", ({ tenantID }) => tenantID], UUID, ...WHAT],
      });
    }
  }
  return EXIT.done;
}

function momentOf(text: string, now: Date): Date {
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : now.getTime() - durationOf(text);
  if (Number.isNaN(at))
    throw new PluginError(EXIT.usage, "--since takes 30m, 24h, or a moment as 2026-05-01T12:00:00Z.");
  return new Date(at);
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    return Number.NaN;
  }
}

function detailText({ detail = {} }: AuditView): string {
  return Object.entries(detail)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
