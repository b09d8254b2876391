import * as z from "zod";

import { condition } from "../src/api/meta.ts";
import type { Kube } from "../stack/kube.ts";

const conditioned = z.looseObject({ status: z.looseObject({ conditions: z.array(condition).default([]) }) });

export function isReady(object: unknown): boolean {
  const { data } = conditioned.safeParse(object);
  return data?.status.conditions.some(({ type, status }) => type === "Ready" && status === "True") === true;
}

/** Resolves with the moment, in milliseconds since the epoch, at which an object of this name first answered to `what`. */
export type Sights = (name: string) => Promise<number>;

/** Watches a collection until the signal aborts. */
export function sightsOf(kube: Kube, path: string, what: (object: unknown) => boolean, signal: AbortSignal): Sights {
  const moments = new Map<string, PromiseWithResolvers<number>>();
  const of = (name: string): PromiseWithResolvers<number> => {
    const known = moments.get(name) ?? Promise.withResolvers<number>();
    moments.set(name, known);
    return known;
  };
  void kube.follow(
    path,
    ({ object }) => {
      if (what(object)) of(object.metadata.name).resolve(performance.timeOrigin + performance.now());
    },
    signal,
  );
  return (name) => of(name).promise;
}
