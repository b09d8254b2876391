/**
 * A dispatcher that lets no more of an answer through than anybody may read. The admin client reads with fetch, whole and
 * without a limit, and offers no other place: what passes here is what it gets.
 */
import { BodyRefused, decompressed, makeBodyGuard } from "../lib/body.ts";
import { type CallUnderWay, type ObserveCall, operationIn } from "../api/upstreamOperations.ts";
import { isObject } from "../lib/json.ts";
import { KEYCLOAK_OPERATIONS } from "./operations.ts";
import { type Dispatcher, sharedDispatcher } from "./trust.ts";

type Dispatch = Dispatcher["dispatch"];
type Options = Parameters<Dispatch>[0];
type Handler = Parameters<Dispatch>[1];

/** Through `inner`, or as fetch would go by itself. */
export function bounded(inner: Dispatcher | undefined, observe?: ObserveCall): Dispatcher {
  const dispatch: Dispatch = (options, handler) => {
    const to = inner ?? sharedDispatcher();
    if (observe === undefined) return to.dispatch(options, boundedHandler(handler, nothing));
    const { headers, over } = observed(options, observe);
    return to.dispatch(withHeaders(options, headers), boundedHandler(handler, over));
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fetch uses nothing else of a dispatcher
  return { dispatch } as Dispatcher;
}

/** To be called when the request is over, with the status of a complete answer. */
type Over = CallUnderWay["over"];

function observed({ method, path, origin = "" }: Options, observe: ObserveCall): CallUnderWay {
  const operation = operationIn(KEYCLOAK_OPERATIONS, method, path);
  return observe({ upstream: "keycloak", operation, method, origin: String(origin) });
}

/** fetch gives its headers as one object. */
function withHeaders(options: Options, headers: CallUnderWay["headers"]): Options {
  const given = options.headers;
  if (Object.keys(headers).length === 0 || !isObject(given)) return options;
  return { ...options, headers: { ...given, ...headers } };
}

function nothing(): void {}

interface Held {
  readonly coding: string;
  readonly status: number;
  readonly head: Buffer[];
  readonly statusText: string;
  readonly parts: Buffer[];
  readonly count: (chunk: Buffer) => void;
}

/**
 * The handler that fetch gives, in the form it has had since undici 4. A compressed answer is held back until it is
 * complete and handed on decompressed: fetch would decompress it without a limit.
 */
function boundedHandler(handler: Handler, over: Over): Handler {
  let abort: (error: Error) => void = () => undefined;
  let guard: (chunk: Buffer) => void = () => undefined;
  let held: Held | undefined;
  let refused: Error | undefined;
  let answered: number | undefined;

  const guarded = (work: () => boolean): boolean => {
    if (refused !== undefined) return false;
    try {
      return work();
    } catch (error) {
      const reason = error instanceof Error ? error : new BodyRefused("it cannot be read");
      refused = reason;
      // Fetch hears of no end of a body that came in the same turn as the head.
      setImmediate(() => abort(reason));
      return false;
    }
  };

  return {
    onConnect(cut) {
      abort = cut;
      handler.onConnect?.(cut);
    },
    onUpgrade: (status, head, socket) => handler.onUpgrade?.(status, head, socket),
    onResponseStarted: () => handler.onResponseStarted?.(),
    onBodySent: (size, total) => handler.onBodySent?.(size, total),
    onHeaders: (status, head, resume, statusText) =>
      guarded(() => {
        guard = makeBodyGuard(status);
        answered = status;
        const coding = codingOf(head);
        if (status >= 200 && coding !== undefined) {
          held = { coding, status, head, statusText, parts: [], count: makeBodyGuard(status) };
          return true;
        }
        return handler.onHeaders?.(status, head, resume, statusText) ?? true;
      }),
    onData: (chunk) =>
      guarded(() => {
        if (held === undefined) {
          guard(chunk);
          return handler.onData?.(chunk) ?? true;
        }
        held.count(chunk);
        held.parts.push(chunk);
        return true;
      }),
    onComplete(trailers) {
      over(refused === undefined ? answered : undefined);
      if (held !== undefined) {
        const { coding, status, head, statusText, parts } = held;
        const isWhole = guarded(() => {
          const body = decompressed(Buffer.concat(parts), coding, status);
          guard(body);
          handler.onHeaders?.(status, plain(head), () => undefined, statusText);
          if (body.length > 0) handler.onData?.(body);
          return true;
        });
        if (!isWhole) {
          handler.onError?.(refused ?? new BodyRefused("it cannot be read", status));
          return;
        }
      } else if (refused !== undefined) {
        const reason = refused;
        setImmediate(() => handler.onError?.(reason));
        return;
      }
      handler.onComplete?.(trailers);
    },
    onError(error) {
      over(undefined);
      handler.onError?.(refused ?? error);
    },
  };
}

const CODING = "content-encoding";

/** Names and values in turn, as they came. */
function codingOf(head: readonly Buffer[]): string | undefined {
  const codings = head
    .filter((_value, n) => n % 2 === 1 && isCoding(head[n - 1]))
    .map((value) => value.toString("latin1"));
  const coding = codings.join();
  return coding === "" || coding.toLowerCase() === "identity" ? undefined : coding;
}

function plain(head: readonly Buffer[]): Buffer[] {
  return head.filter((_part, n) => !isCoding(head[n - (n % 2)]));
}

function isCoding(name: Buffer | undefined): boolean {
  return name?.toString("latin1").toLowerCase() === CODING;
}
