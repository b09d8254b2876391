/** Reviews against the webhook's own way from bytes to answer; what is looked at is the same for every one. */
import { setImmediate as turn } from "node:timers/promises";
import * as z from "zod";
import { answerRequest, type AnswerDeps } from "../../src/admission/answer.ts";
import { parseReview } from "../../src/admission/review.ts";
import { drawing, reviewBody } from "./reviews.ts";

export interface Fuzzed {
  readonly reviews: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** What was no well-formed answer, or was thrown: the review with it. */
  readonly broken: readonly string[];
  /** Processor time of this thread that one review took at most: what stands still meanwhile is the event loop. */
  readonly mostMs: number;
  /** After a tenth, and at the end, each after a collection. */
  readonly memory: { readonly warm: Memory; readonly end: Memory };
  readonly seconds: number;
}

export interface Memory {
  readonly rssBytes: number;
  /** What is held: objects and buffers. Memory that nothing holds may stay with the process. */
  readonly heldBytes: number;
}

function memoryNow(): Memory {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rssBytes: rss, heldBytes: heapUsed + external };
}

const answered = z.object({
  apiVersion: z.literal("admission.k8s.io/v1"),
  kind: z.literal("AdmissionReview"),
  response: z.object({
    uid: z.string(),
    allowed: z.boolean(),
    status: z.object({ code: z.int(), message: z.string().max(20_000) }).optional(),
    patch: z.string().optional(),
    warnings: z.array(z.string()).optional(),
  }),
});

const HEADERS = { "content-type": "application/json" };
const REMEMBERED = 10;

export async function fuzz(reviews: number, seed: number, deps: AnswerDeps): Promise<Fuzzed> {
  const draw = drawing(seed);
  const outcomes: Record<string, number> = {};
  const broken: string[] = [];
  const began = performance.now();
  let mostMs = 0;
  let warm = memoryNow();
  for (let n = 0; n < reviews; n += 1) {
    if (n === Math.floor(reviews / 10)) warm = memoryNow();
    const bytes = reviewBody(draw);
    const webhook = draw() < 0.5 ? "mutate" : "validate";
    const before = process.threadCpuUsage();
    let outcome = "refused";
    try {
      const parsed = parseReview(HEADERS, { bytes });
      if ("request" in parsed) {
        const answer = await answerRequest(webhook, parsed.request, deps);
        outcome = answer.outcome;
        if (answered.parse(JSON.parse(answer.body)).response.uid !== parsed.request.uid) throw new Error("another uid");
      }
    } catch (error) {
      outcome = "broken";
      if (broken.length < REMEMBERED) broken.push(`${String(error)} at ${n}: ${bytes.toString("latin1", 0, 500)}`);
    }
    const { user, system } = process.threadCpuUsage(before);
    mostMs = Math.max(mostMs, (user + system) / 1000);
    outcomes[`${webhook} ${outcome}`] = (outcomes[`${webhook} ${outcome}`] ?? 0) + 1;
    if (n % 1000 === 0) await turn();
  }
  return {
    reviews,
    outcomes,
    broken,
    mostMs,
    memory: { warm, end: memoryNow() },
    seconds: (performance.now() - began) / 1000,
  };
}
