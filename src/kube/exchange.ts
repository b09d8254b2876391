/** The few ways in which an answer of the API server becomes a value or an error. */
import * as z from "zod";
import { REASON } from "../api/reasons.ts";
import { ConflictError, type SagaError } from "../lib/errors.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { classify } from "./classify.ts";
import { type ApiRequest, type ApiClient, json } from "./apiClient.ts";
import { eachPage } from "./pages.ts";
import { terminal, unavailable } from "./failures.ts";

/** What is being done, for messages: verb, resource and place, e.g. "create secrets in tenant-a". */
export interface Exchange {
  readonly doing: string;
  readonly request: ApiRequest;
}

/** The answer when it is a 2xx; `undefined` for a 404; throws the class of everything else. */
export async function ask(
  connection: ApiClient,
  { doing, request }: Exchange,
  signal: AbortSignal,
): Promise<HttpAnswer | undefined> {
  const answer = await connection.send(request, signal);
  if (answer.status >= 200 && answer.status < 300) return answer;
  if (answer.status === 404) return undefined;
  throw refusal(connection, answer, doing, request);
}

/** Like {@link ask}, where a 404 is an error too. */
export async function demand(connection: ApiClient, exchange: Exchange, signal: AbortSignal): Promise<HttpAnswer> {
  const answer = await connection.send(exchange.request, signal);
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw refusal(connection, answer, exchange.doing, exchange.request);
}

function refusal(connection: ApiClient, answer: HttpAnswer, doing: string, request: ApiRequest): SagaError {
  return classify(answer, doing, connection.clock.now(), request.secrets);
}

/** The body of a 2xx answer as `schema` has it. Throws TransientError when it is something else. */
export function read<T>(schema: z.ZodType<T>, answer: HttpAnswer, doing: string): T {
  const parsed = schema.safeParse(json(answer));
  if (parsed.success) return parsed.data;
  throw unavailable(`kubernetes gave an answer that is not its own to ${doing}.`, {
    upstreamStatus: answer.status,
    cause: parsed.error,
  });
}

/**
 * One of our own objects. The status is a hint, so one that an other version wrote is dropped rather than
 * refused. Throws TerminalError InvalidSpec when the spec itself does not fit.
 */
export function readOwn<T>(schema: z.ZodType<T>, object: unknown, name: string): T {
  const whole = schema.safeParse(object);
  if (whole.success) return whole.data;
  const bare = schema.safeParse(typeof object === "object" ? { ...object, status: undefined } : object);
  if (bare.success) return bare.data;
  const issue = bare.error.issues[0];
  throw terminal(
    REASON.InvalidSpec,
    `${name} does not fit its schema: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "unreadable"}; apply it again.`,
    { cause: bare.error },
  );
}

/** The object is not as the caller saw it: look again. */
export function moved(what: string, cause?: unknown): ConflictError {
  return new ConflictError({
    code: "Conflict",
    upstream: "kubernetes",
    message: `${what} changed since it was read; look again.`,
    cause,
  });
}

const page = z.looseObject({
  metadata: z.looseObject({ continue: z.string().optional() }),
  items: z.array(z.unknown()).nullish(),
});

/** A whole collection, in pages. Throws what `demand` throws; the items are as the API server gave them. */
export async function listAll(
  connection: ApiClient,
  collection: { readonly doing: string; readonly path: string; readonly query?: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<unknown[]> {
  const { doing, path } = collection;
  const all: unknown[] = [];
  await eachPage(async (query) => {
    const request = { method: "GET", path, query: { ...collection.query, ...query } } as const;
    const answer = read(page, await demand(connection, { doing, request }, signal), doing);
    for (const item of answer.items ?? []) all.push(item);
    return answer.metadata.continue;
  });
  return all;
}
