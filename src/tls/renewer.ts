/** The reconciler's side: keeps the Secret with the webhook's certificate fresh, and the API server trusting it. */
import { RETRIES } from "../lib/backoff.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { ConflictError, isSagaError } from "../lib/errors.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import {
  type CertificateSet,
  makeCertificates,
  planRenewal,
  type CertificateSubject,
  vouchesFor,
} from "./authority.ts";

/** The cluster as the renewer needs it. `Stored` is whatever names the revision that was read. */
export interface CertificatePort<Stored> {
  /** Undefined: no such Secret. An entry that is missing is "". */
  readSecret(signal: AbortSignal): Promise<{ readonly set: CertificateSet; readonly stored: Stored } | undefined>;
  /** Creates it, or replaces exactly what was read; ConflictError when another replica was first. */
  writeSecret(set: CertificateSet, stored: Stored | undefined, signal: AbortSignal): Promise<unknown>;
  /**
   * Puts the CA bundle (PEM) into every webhook of ours; writes nothing where it is so already. Returns the names of
   * configurations that do not exist.
   */
  setCABundle(ca: string, signal: AbortSignal): Promise<readonly string[]>;
  /** Gives the pair to the webhook of the same Pod. Resolves with false where that failed; never rejects. */
  handOver(set: CertificateSet): Promise<boolean>;
}

export interface Renewer extends Part {
  /** Milliseconds since the epoch of the last turn that went well, or that an answer of the API server has failed. */
  lastProgress(): number;
  /** One look: renews where that is due. Any number of replicas may look at once. */
  renew(signal: AbortSignal): Promise<"kept" | "renewed" | "lost">;
}

/** Also how soon a caBundle that somebody took away is back. */
const EVERY_MS = 60_000;

export function makeRenewer<Stored>(deps: {
  readonly port: CertificatePort<Stored>;
  readonly subject: CertificateSubject;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetimeMs?: number;
  readonly everyMs?: number;
}): Renewer {
  const { port, subject, clock, log } = deps;
  const stopped = new AbortController();
  let running: Promise<void> | undefined;
  let progress = clock.now();

  let missing = "";

  const trust = async (ca: string, signal: AbortSignal): Promise<void> => {
    const names = (await port.setCABundle(ca, signal)).join(", ");
    if (names !== "" && names !== missing)
      log.warn("failed to find the webhook configuration; admission is not called", { names });
    missing = names;
  };

  /** Leaves: the one that the webhook beside us was given, and the one that the last poll found in the Secret. */
  let given: string | undefined;
  let polled: string | undefined;

  /**
   * At once, where the webhook has no certificate that the API server trusts. Otherwise at the next poll: by then every
   * API server has noticed the new CA.
   */
  const handOver = async (set: CertificateSet): Promise<void> => {
    const urgent = given === undefined || !vouchesFor(set.ca, given);
    const noticed = polled === set.cert;
    polled = set.cert;
    if (given === set.cert || !(urgent || noticed)) return;
    if (await port.handOver(set)) given = set.cert;
  };

  const renew: Renewer["renew"] = async (signal) => {
    const current = await port.readSecret(signal);
    const plan = planRenewal(current?.set, subject, clock.now());
    if (plan.action === "keep") {
      if (current !== undefined) {
        await trust(current.set.ca, signal);
        await handOver(current.set);
      }
      return "kept";
    }
    const set = await makeCertificates(subject, {
      now: clock.now(),
      keep: plan.keep,
      ...(deps.lifetimeMs === undefined ? {} : { lifetimeMs: deps.lifetimeMs }),
    });
    // Trust first: were we cut between the two, the old leaf is still trusted, and the next look begins again.
    if (plan.keep !== "") await trust(set.ca, signal);
    try {
      await port.writeSecret(set, current?.stored, signal);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      // Another replica was first: what it wrote counts.
      const theirs = await port.readSecret(signal);
      if (theirs !== undefined) {
        await trust(theirs.set.ca, signal);
        await handOver(theirs.set);
      }
      return "lost";
    }
    await trust(set.ca, signal);
    await handOver(set);
    log.info("renewed certificate", { reason: plan.reason, outcome: "renewed" });
    return "renewed";
  };

  const run = async (): Promise<void> => {
    let failing = false;
    while (!stopped.signal.aborted) {
      try {
        await renew(stopped.signal);
        failing = false;
        progress = clock.now();
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (isSagaError(error)) progress = clock.now();
        if (!failing) log.warn("failed to check the webhook's certificate; retrying", { error });
        failing = true;
      }
      await pause(failing ? RETRIES.certificate.firstMs : (deps.everyMs ?? EVERY_MS), stopped.signal);
    }
  };

  return {
    name: "certificate renewer",
    allowedMs: 4 * 60_000,
    lastProgress: () => progress,
    renew,
    start() {
      running = run();
    },
    async stop() {
      stopped.abort();
      await running;
    },
  };
}
