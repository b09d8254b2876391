/** The reconciler's books, asked over the operator's port. */
import type * as z from "zod";
import {
  type EndAnswer,
  endAnswer,
  type EndOrder,
  OPERATOR_HEADER,
  type PeopleAnswer,
  peopleAnswer,
  refusalAnswer,
  type SagasAnswer,
  sagasAnswer,
  type StrangersAnswer,
  strangersAnswer,
} from "../api/operator.ts";
import { EXIT, type Exit, PluginError } from "./exit.ts";
import { printable } from "./text.ts";

const DEADLINE_MS = 35_000;

export type Who = { readonly uuid: string } | { readonly namespace: string; readonly name: string };

export interface Books {
  people(who: Who): Promise<PeopleAnswer>;
  debts(tenant: string | undefined): Promise<SagasAnswer>;
  ownerless(tenant: string | undefined): Promise<SagasAnswer>;
  purge(uuid: string, order: EndOrder): Promise<EndAnswer>;
  waive(uuid: string, order: EndOrder): Promise<EndAnswer>;
  /** Every page, one after the other. */
  strangers(tenant: string): AsyncGenerator<StrangersAnswer>;
}

/** `by`: what the cluster calls the operator. */
export function openBooks(url: string, by: string, signal: AbortSignal): Books {
  async function ask<T>(path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const response = await fetch(new URL(path, url), {
      method: body === undefined ? "GET" : "POST",
      headers: {
        [OPERATOR_HEADER]:
          printable(by)
            .replaceAll(/[^\x20-\x7e]/g, "?")
            .slice(0, 256) || "unknown",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    }).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new PluginError(
        EXIT.failed,
        "The reconciler does not answer at its operator's port: is OPERATOR_ADDRESS set there, and does it run?",
        cause,
      );
    });
    const answer: unknown = await response.json().catch(() => undefined);
    if (response.ok) {
      const { data } = schema.safeParse(answer);
      if (data !== undefined) return data;
    }
    const refused = refusalAnswer.safeParse(answer);
    if (refused.success) throw new PluginError(exitOf(response.status), printable(refused.data.error.message));
    throw new PluginError(
      EXIT.failed,
      `What answers at the operator's port is no reconciler of this version (${response.status}).`,
    );
  }

  const of = (tenant: string | undefined) =>
    tenant === undefined ? "" : `?${new URLSearchParams({ tenant }).toString()}`;
  return {
    people: (who) => ask(`/v1/people?${new URLSearchParams({ ...who }).toString()}`, peopleAnswer),
    debts: (tenant) => ask(`/v1/debts${of(tenant)}`, sagasAnswer),
    ownerless: (tenant) => ask(`/v1/ownerless${of(tenant)}`, sagasAnswer),
    purge: (uuid, order) => ask(`/v1/people/${encodeURIComponent(uuid)}/purge`, endAnswer, order),
    waive: (uuid, order) => ask(`/v1/debts/${encodeURIComponent(uuid)}/waive`, endAnswer, order),
    async *strangers(tenant) {
      for (let first: number | undefined = 0; first !== undefined;) {
        const query: string = new URLSearchParams({ tenant, first: String(first) }).toString();
        const page: StrangersAnswer = await ask(`/v1/strangers?${query}`, strangersAnswer);
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
