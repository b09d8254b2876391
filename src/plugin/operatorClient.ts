/** The reconciler's state store, asked over the operator's port. */
import type * as z from "zod";
import {
  type AuditPageAnswer,
  auditPageAnswer,
  type EndAnswer,
  endAnswer,
  type EndOrder,
  OPERATOR_HEADER,
  type ParkedEventsAnswer,
  parkedEventsAnswer,
  type PeopleAnswer,
  peopleAnswer,
  refusalAnswer,
  type RetriedEventsAnswer,
  retriedEventsAnswer,
  type SagasAnswer,
  sagasAnswer,
  type UnmanagedUsersAnswer,
  unmanagedUsersAnswer,
} from "../api/operator.ts";
import { readText } from "../lib/body.ts";
import { withDeadline } from "../lib/deadline.ts";
import { parsedJSON } from "../lib/json.ts";
import { EXIT, type Exit, failure, PluginError } from "./exit.ts";
import { printable } from "./text.ts";
import { pathSegment } from "../lib/ids.ts";

const DEADLINE_MS = 35_000;

export type Who = { readonly uuid: string } | { readonly namespace: string; readonly name: string };

export interface OperatorClient {
  people(who: Who): Promise<PeopleAnswer>;
  cleanups(tenant: string | undefined): Promise<SagasAnswer>;
  ownerless(tenant: string | undefined): Promise<SagasAnswer>;
  parkedEvents(tenant: string | undefined): Promise<ParkedEventsAnswer>;
  retryEvents(tenant: string | undefined): Promise<RetriedEventsAnswer>;
  purge(uuid: string, order: EndOrder): Promise<EndAnswer>;
  waive(uuid: string, order: EndOrder): Promise<EndAnswer>;
  /** The audit of everybody, or of one tenant: every page, one after the other. */
  audit(of: { readonly since: Date | undefined; readonly tenant: string | undefined }): AsyncGenerator<AuditPageAnswer>;
  /** Every page, one after the other. */
  unmanagedUsers(tenant: string): AsyncGenerator<UnmanagedUsersAnswer>;
}

/** `by`: what the cluster calls the operator. */
export function openOperatorClient(url: string, by: string, signal: AbortSignal): OperatorClient {
  async function ask<T>(path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const headers = {
      [OPERATOR_HEADER]:
        printable(by)
          .replaceAll(/[^\x20-\x7e]/g, "?")
          .slice(0, 256) || "unknown",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const response = await withDeadline(signal, DEADLINE_MS, async (cut) => {
      const answered = await fetch(new URL(path, url), {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        redirect: "error",
        signal: cut,
      });
      return { ok: answered.ok, status: answered.status, text: await readText(answered).catch(() => "") };
    }).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw failure(
        "The reconciler does not answer at its operator's port: is OPERATOR_ADDRESS set there, and does it run?",
        cause,
      );
    });
    const answer = parsedJSON(response.text);
    if (response.ok) {
      const { data } = schema.safeParse(answer);
      if (data !== undefined) return data;
    }
    const refused = refusalAnswer.safeParse(answer);
    if (refused.success) throw new PluginError(exitOf(response.status), printable(refused.data.error.message));
    throw failure(`What answers at the operator's port is no reconciler of this version (${response.status}).`);
  }

  const of = (tenant: string | undefined) =>
    tenant === undefined ? "" : `?${new URLSearchParams({ tenant }).toString()}`;
  return {
    people: (who) => ask(`/v1/people?${new URLSearchParams({ ...who }).toString()}`, peopleAnswer),
    cleanups: (tenant) => ask(`/v1/cleanups${of(tenant)}`, sagasAnswer),
    ownerless: (tenant) => ask(`/v1/ownerless${of(tenant)}`, sagasAnswer),
    parkedEvents: (tenant) => ask(`/v1/parked-events${of(tenant)}`, parkedEventsAnswer),
    retryEvents: (tenant) => ask(`/v1/parked-events/retry${of(tenant)}`, retriedEventsAnswer, {}),
    purge: (uuid, order) => ask(`/v1/people/${pathSegment(uuid)}/purge`, endAnswer, order),
    waive: (uuid, order) => ask(`/v1/cleanups/${pathSegment(uuid)}/waive`, endAnswer, order),
    async *audit({ since, tenant }) {
      const fixed = {
        ...(since === undefined ? {} : { since: since.toISOString() }),
        ...(tenant === undefined ? {} : { tenant }),
      };
      for (let after: string | undefined = "0"; after !== undefined;) {
        const query: string = new URLSearchParams({ ...fixed, after }).toString();
        const page: AuditPageAnswer = await ask(`/v1/audit?${query}`, auditPageAnswer);
        yield page;
        after = page.next;
      }
    },
    async *unmanagedUsers(tenant) {
      for (let first: number | undefined = 0; first !== undefined;) {
        const query: string = new URLSearchParams({ tenant, first: String(first) }).toString();
        const page: UnmanagedUsersAnswer = await ask(`/v1/unmanaged-users?${query}`, unmanagedUsersAnswer);
        yield page;
        first = page.next;
      }
    },
  };
}

function exitOf(status: number): Exit {
  if (status === 403) return EXIT.forbidden;
  return status === 404 ? EXIT.notFound : EXIT.failed;
}
