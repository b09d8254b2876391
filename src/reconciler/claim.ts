import { REASON } from "../api/reasons.ts";
import type { LiveTenantUser, TenantUserStatus } from "../api/tenantUser.ts";
import { type Occurrence, userEvent, type UserEvent } from "../api/userEvent.ts";
import { parseDuration } from "../api/duration.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock, Random } from "../lib/clock.ts";
import { isSagaError, type SagaError, TerminalError, TransientError, WaitingError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import {
  type Advanced,
  afterBeginDown,
  afterDown,
  afterEnd,
  afterFailure,
  afterFinish,
  afterOrphan,
  afterRelease,
  afterUp,
  beforeUp,
} from "../saga/advance.ts";
import { type Action, decide, type Sight, type TenantView, type View } from "../saga/decide.ts";
import { desire, refusal } from "../saga/desired.ts";
import { report, sameStatus, type Situation } from "../saga/report.ts";
import { patched, type RowPatch, type SagaRow, type StepName } from "../saga/row.ts";
import type { Step, StepContext, UpContext, Written } from "../steps/step.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { Binding, Waiter } from "../store/bindings.ts";
import type { Claim, Recording } from "../store/claims.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";
import type { Breakers } from "./breakers.ts";

/** All calls of one step end before the lease does (30 s from the last record). */
const STEP_DEADLINE_MS = 25_000;

export interface ClaimDeps {
  readonly cluster: Cluster;
  readonly clusterID: string;
  readonly tenants: TenantRegistry;
  readonly steps: readonly Step[];
  readonly breakers: Breakers;
  readonly record: (claim: Claim, recording: Recording) => Promise<Claim | undefined>;
  readonly moveEmail: (row: SagaRow, email: string) => Promise<Binding>;
  readonly firstWaiter: (tenantID: string, email: string) => Promise<Waiter | undefined>;
  readonly handOver: (claim: Claim, to: Waiter) => Promise<boolean>;
  /** Something was let go that others of this tenant may wait for. */
  readonly released: (tenantID: string) => void;
  /** A neighbour of this tenant answers again after having been down. */
  readonly recovered: (tenantID: string) => void;
  readonly observe: (outcome: { step: StepName; direction: "up" | "down"; outcome: string; ms: number }) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Thrown when a record finds its lease gone: somebody else works on this row now. */
class LeaseLost extends Error {}

/**
 * Takes one claimed row as far as it goes: decide, act, record, again; then says how it ended on the object and lets the
 * claim go. Never throws for what a neighbour did; throws when Postgres fails (the lease then ends by itself).
 */
export async function processClaim(deps: ClaimDeps, first: Claim, signal: AbortSignal): Promise<void> {
  const work = new Work(deps, first, signal);
  try {
    await work.run();
  } catch (error) {
    if (!(error instanceof LeaseLost)) throw error;
  }
}

/** How a claim ends. */
interface End {
  readonly patch: RowPatch;
  readonly dueAt: Date | null;
  readonly situation: Situation | undefined;
  readonly events: readonly UserEvent[];
}

class Work {
  readonly #deps: ClaimDeps;
  readonly #signal: AbortSignal;
  #claim: Claim;
  #object: LiveTenantUser | undefined;
  #audit: AuditEntry[] = [];
  readonly #carry: StepContext["carry"] = {};

  constructor(deps: ClaimDeps, claim: Claim, signal: AbortSignal) {
    this.#deps = deps;
    this.#claim = claim;
    this.#signal = signal;
  }

  get #row(): SagaRow {
    return this.#claim.row;
  }

  get #now(): Date {
    return new Date(this.#deps.clock.now());
  }

  get #tenant(): TenantAccess | undefined {
    return this.#deps.tenants.get(this.#row.tenantID);
  }

  async run(): Promise<void> {
    for (;;) {
      let sight: Sight;
      let action: Action;
      try {
        sight = await this.#look();
        action = decide(await this.#view(sight), this.#now);
      } catch (error) {
        // The API server does not answer, or refuses us: not this saga's failure.
        await this.#postpone(error);
        return;
      }
      const end = await this.#perform(action, sight);
      if (end !== "goOn") {
        await this.#finish(end, sight);
        return;
      }
    }
  }

  async #look(): Promise<Sight> {
    const { namespace, name, objectUID } = this.#row;
    if (namespace === undefined || name === undefined || objectUID === undefined) return { kind: "absent" };
    // Read once per claim: what changes meanwhile touches the row, and the next claim reads it.
    this.#object ??= (await this.#deps.cluster.getTenantUser(namespace, name, this.#signal)) as LiveTenantUser | undefined;
    const object = this.#object;
    if (object === undefined || object.metadata.uid !== objectUID) return { kind: "absent" };
    const { deletionTimestamp, finalizers } = object.metadata;
    if (deletionTimestamp !== undefined) {
      return { kind: "deleting", uid: objectUID, finalizers: finalizers ?? [], deletedAt: new Date(deletionTimestamp) };
    }
    const tenant = this.#tenant;
    if (tenant === undefined) {
      // Without a Tenant nothing is compared and nothing is done; the view has none either.
      return { kind: "present", object, desired: desire(object, NO_TENANT), refusal: undefined };
    }
    const desired = desire(object, tenant.spec);
    return { kind: "present", object, desired, refusal: refusal(desired, tenant.spec) };
  }

  async #view(sight: Sight): Promise<View> {
    const row = this.#row;
    const { cluster, clusterID, firstWaiter } = this.#deps;
    const down = row.deleting !== undefined || sight.kind === "deleting";
    const beginning = sight.kind === "deleting" && row.deleting === undefined;
    return {
      row,
      sight,
      tenant: this.#tenantView(),
      clusterID,
      crd: beginning ? await cluster.tenantUserCRD(this.#signal) : "unknown",
      waiter: down && row.deleting !== undefined ? (await firstWaiter(row.tenantID, row.email)) !== undefined : false,
      closed: this.#closed(),
    };
  }

  #tenantView(): TenantView | undefined {
    const tenant = this.#tenant;
    if (tenant === undefined) return undefined;
    return {
      revision: tenant.revision,
      ready: tenant.ready,
      message: tenant.notReadyMessage,
      deletionGraceMs: parseDuration(tenant.spec.deletionGrace),
    };
  }

  /** Asked lazily: looking at an open circuit may take its probe, so only the step that would run is asked for. */
  #closed(): View["closed"] {
    const ask = (step: StepName): Date | undefined => {
      const name = this.#origin(step);
      return name === undefined ? undefined : this.#deps.breakers.ask(name);
    };
    return {
      get keycloak() {
        return ask("keycloak");
      },
      get newapi() {
        return ask("newapi");
      },
    } as View["closed"];
  }

  #origin(step: StepName): string | undefined {
    const spec = this.#tenant?.spec;
    if (spec === undefined || step === "secret") return undefined;
    return new URL(step === "keycloak" ? spec.keycloak.url : spec.newapi.url).origin;
  }

  async #perform(action: Action, sight: Sight): Promise<End | "goOn"> {
    const row = this.#row;
    const { cluster } = this.#deps;
    const desired = sight.kind === "present" ? sight.desired : undefined;
    const quiet = (dueAt: Date | null, situation?: Situation): End => ({ patch: {}, dueAt, situation, events: [] });
    switch (action.kind) {
      case "rest":
        if (action.why === "blocked") return quiet(null, this.#stalledByError());
        return quiet(null, action.why === "done" ? { kind: "ready" } : undefined);
      case "sleep":
        return quiet(action.until, this.#retrying(action.until));
      case "wait":
        if (row.deleting !== undefined) return quiet(action.until ?? null, this.#retrying(action.until));
        return quiet(action.until ?? null, { kind: "waiting", reason: action.reason, message: action.message });
      case "refuse": {
        const error = new TerminalError({ code: action.refusal.reason, message: action.refusal.message });
        return this.#failed("admission", error, sight);
      }
      case "suspend":
        return quiet(null, { kind: "suspended" });
      case "move-email":
        return this.#moveEmail(action.email);
      case "add-finalizer":
        if (this.#object !== undefined) {
          const outcome = await this.#attempt(async () => {
            this.#object = (await cluster.addFinalizer(this.#object as LiveTenantUser, this.#signal)) as LiveTenantUser;
          });
          if (outcome !== undefined) return this.#failed("finalizer", outcome, sight);
        }
        return "goOn";
      case "up":
        return this.#up(action, sight);
      case "finish": {
        const tenant = this.#tenantView();
        if (desired === undefined || tenant === undefined) throw new Error("a run finished without its object");
        const advanced = afterFinish(row, action.run, desired, tenant, this.#now);
        const after = patched(row, advanced.patch);
        return { patch: advanced.patch, dueAt: null, situation: { kind: "ready" }, events: this.#finishedEvents(after, action.run) };
      }
      case "orphan": {
        if (action.release && this.#object !== undefined) {
          const outcome = await this.#attempt(() => cluster.removeFinalizer(this.#object as LiveTenantUser, this.#signal));
          if (outcome !== undefined) return this.#failed("release", outcome, sight);
        }
        this.#log("orphaned", "warn", "The object is gone without a deletion having been seen; nothing was undone.");
        return { patch: afterOrphan(row, this.#now).patch, dueAt: null, situation: undefined, events: [] };
      }
      case "begin-down":
        await this.#keep(afterBeginDown(action.objectUID, action.since, action.purgeAt).patch);
        return "goOn";
      case "hand-over":
        return this.#handOver(sight);
      case "down":
        return this.#down(action.step, action.how, sight);
      case "retain":
      case "deleted": {
        const state = action.kind === "retain" ? "retained" : "deleted";
        const events = state === "deleted" ? [this.#event("sme.user.deleted", row, row.deleting?.objectUID ?? "", {})] : [];
        await this.#keep(afterEnd(row, state, this.#now).patch, events);
        this.#log(state, "info");
        return "goOn";
      }
      case "release": {
        if (sight.kind === "deleting" && this.#object !== undefined) {
          if (action.debt) await this.#note("Warning", REASON.DebtOwed, this.#debt());
          const outcome = await this.#attempt(() => cluster.removeFinalizer(this.#object as LiveTenantUser, this.#signal));
          if (outcome !== undefined) return this.#failed("release", outcome, sight);
        }
        this.#object = undefined;
        const advanced = afterRelease(row);
        this.#deps.released(row.tenantID);
        if (advanced.next.kind === "rest") return { patch: advanced.patch, dueAt: null, situation: undefined, events: [] };
        await this.#keep(advanced.patch);
        return "goOn";
      }
      default:
        return action satisfies never;
    }
  }

  async #up(action: Extract<Action, { kind: "up" }>, sight: Sight): Promise<End | "goOn"> {
    if (sight.kind !== "present") throw new Error("a step went up without its object");
    const intent = beforeUp(this.#row, sight.desired, action.run);
    if (intent !== undefined) await this.#keep(intent);
    const { run } = action;
    return this.#step(run.step, sight, async (step, signal) => {
      const context = this.#upContext(sight);
      return afterUp(this.#row, run, await step.up(context, signal));
    });
  }

  async #down(name: StepName, how: "lock" | "remove", sight: Sight): Promise<End | "goOn"> {
    return this.#step(name, sight, async (step, signal) =>
      afterDown(this.#row, name, how, await step.down(this.#context(), how, signal)),
    );
  }

  async #step(
    name: StepName,
    sight: Sight,
    act: (step: Step, signal: AbortSignal) => Promise<Advanced>,
  ): Promise<End | "goOn"> {
    const step = this.#deps.steps.find((candidate) => candidate.name === name);
    if (step === undefined) throw new Error(`no step ${name}`);
    const origin = this.#origin(name);
    const direction = sight.kind === "present" && this.#row.deleting === undefined ? "up" : "down";
    const began = this.#deps.clock.now();
    try {
      const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(STEP_DEADLINE_MS)]);
      const advanced = await act(step, signal);
      if (origin !== undefined && this.#deps.breakers.success(origin)) this.#deps.recovered(this.#row.tenantID);
      this.#deps.observe({ step: name, direction, outcome: "done", ms: this.#deps.clock.now() - began });
      await this.#keep(advanced.patch);
      return "goOn";
    } catch (error) {
      if (error instanceof LeaseLost) throw error;
      const failure = asSagaError(error, name);
      if (origin !== undefined && failure.class === "transient" && !this.#signal.aborted) this.#deps.breakers.failure(origin);
      this.#deps.observe({ step: name, direction, outcome: failure.class, ms: this.#deps.clock.now() - began });
      return this.#failed(name, failure, sight);
    }
  }

  async #failed(step: StepName | "admission" | "finalizer" | "release", error: SagaError, sight: Sight): Promise<End> {
    // Told to stop: the failure is ours, not the neighbour's. The row is due again for whoever comes next.
    if (this.#signal.aborted) return { patch: {}, dueAt: this.#now, situation: undefined, events: [] };
    const row = this.#row;
    const context = sight.kind === "present" ? { desired: sight.desired, tenant: this.#tenantView() } : undefined;
    const advanced = afterFailure(row, step, error, context, this.#now, this.#deps.random);
    const after = patched(row, advanced.patch);
    this.#log(error.class, error.class === "terminal" ? "warn" : "info", error.message, {
      step,
      attempt: after.retryCount,
      code: error.code,
      upstreamStatus: error.upstreamStatus,
    });
    const events =
      after.state === "failed" && row.state !== "failed"
        ? [
            this.#event(
              "sme.user.failed",
              after,
              `${row.objectUID ?? ""}/${row.run?.generation ?? ""}/${after.failedSince?.toISOString() ?? ""}`,
              { step, code: error.code },
            ),
          ]
        : [];
    const dueAt = advanced.next.kind === "retry" ? advanced.next.at : null;
    const situation: Situation =
      error.class === "terminal" && dueAt === null
        ? { kind: "stalled", reason: error.code, message: error.message }
        : error.class === "waiting"
          ? { kind: "waiting", reason: error.code as never, message: error.message }
          : this.#retrying(dueAt ?? undefined, after);
    return { patch: advanced.patch, dueAt, situation, events };
  }

  async #moveEmail(email: string): Promise<End | "goOn"> {
    const row = this.#row;
    const before = row.email;
    const binding = await this.#deps.moveEmail(row, email);
    switch (binding.kind) {
      case "bound":
        this.#claim = { ...this.#claim, row: { ...row, email } };
        this.#log("email-moved", "info", `The email changed from ${before}.`);
        this.#deps.released(row.tenantID);
        return "goOn";
      case "waiting":
        return { patch: {}, dueAt: null, situation: { kind: "waiting", reason: binding.reason, message: binding.message }, events: [] };
      case "refused":
        return { patch: {}, dueAt: null, situation: { kind: "stalled", reason: binding.reason, message: binding.message }, events: [] };
      default:
        return binding satisfies never;
    }
  }

  async #handOver(sight: Sight): Promise<End | "goOn"> {
    const row = this.#row;
    const to = await this.#deps.firstWaiter(row.tenantID, row.email);
    if (to === undefined) return "goOn";
    if (!(await this.#deps.handOver(this.#claim, to))) throw new LeaseLost();
    this.#log("handed-over", "info", `The person passed to ${to.namespace}/${to.name}.`);
    // From here on the row is the newcomer's. Should the next call fail, the watch finds an object that is going and
    // has no row, and lets it go.
    if (sight.kind === "deleting" && this.#object !== undefined) {
      const object = this.#object;
      await this.#attempt(() => this.#deps.cluster.removeFinalizer(object, this.#signal));
    }
    this.#deps.released(row.tenantID);
    throw new LeaseLost();
  }

  #context(): StepContext {
    const { cluster, clock } = this.#deps;
    const tenant = this.#tenant;
    const row = this.#row;
    const missing = (what: string): never => {
      throw new WaitingError({
        code: REASON.TenantNotReady,
        message: tenant === undefined ? "The Tenant is not there." : `The Tenant has no ${what} credentials: ${tenant.notReadyMessage}`,
      });
    };
    return {
      row,
      cluster,
      realm: () => tenant?.realm ?? missing("Keycloak"),
      gateway: () => tenant?.gateway ?? missing("NewAPI"),
      wrote: (written: Written) => {
        this.#audit.push({ uuid: row.uuid, tenantID: row.tenantID, step: this.#writing(written), ...written });
      },
      note: (patch) => this.#keep(patch),
      carry: this.#carry,
      now: () => clock.now(),
    };
  }

  #upContext(sight: Extract<Sight, { kind: "present" }>): UpContext {
    const tenant = this.#tenant;
    if (tenant === undefined) throw new Error("a step went up without its Tenant");
    return {
      ...this.#context(),
      desired: sight.desired,
      realmName: tenant.spec.keycloak.realm,
      adoption: tenant.realmIsExclusive ? tenant.spec.adoption : "Never",
      allowedGroups: [...tenant.spec.keycloak.defaultGroups, ...tenant.spec.allow.groups],
    };
  }

  #writing(written: Written): string {
    return this.#row.run?.step ?? (written.target?.includes("/") === true ? "secret" : "down");
  }

  /** Records and goes on under the same lease. */
  async #keep(patch: RowPatch, events: readonly UserEvent[] = []): Promise<void> {
    const next = await this.#deps.record(this.#claim, { patch, lease: "keep", audit: this.#audit, events });
    this.#audit = [];
    if (next === undefined) throw new LeaseLost();
    this.#claim = next;
  }

  /** Says it on the object first, then records and lets go: a cut in between says it again, and differs in nothing. */
  async #finish(end: End, sight: Sight): Promise<void> {
    let { dueAt } = end;
    if (end.situation !== undefined && !(await this.#say(patched(this.#row, end.patch), end.situation, sight))) {
      dueAt = new Date(this.#deps.clock.now() + 1000);
    }
    const next = await this.#deps.record(this.#claim, {
      patch: end.patch,
      lease: { dueAt },
      audit: this.#audit,
      events: end.events,
    });
    if (next === undefined) throw new LeaseLost();
    if (end.situation?.kind === "ready" && end.events.length > 0) this.#log("ready", "info");
  }

  /** False: the status could not be written and must be tried again. */
  async #say(row: SagaRow, situation: Situation, sight: Sight): Promise<boolean> {
    const object = this.#object;
    if (object === undefined || sight.kind === "absent") return true;
    const previous = object.status;
    const status = report(
      {
        row,
        generation: object.metadata.generation,
        desired: sight.kind === "present" ? sight.desired : undefined,
        situation,
        previous,
      },
      this.#now,
    );
    if (sameStatus(previous, status)) return true;
    const outcome = await this.#attempt(async () => {
      await this.#deps.cluster.applyTenantUserStatus(object, status, this.#signal);
    });
    if (outcome !== undefined) {
      // A conflict means that the object moved: the watch has touched the row, and the next claim says it.
      return false;
    }
    this.#announce(previous, status);
    return true;
  }

  /** An Event per change of what Ready says, never per retry. */
  #announce(previous: TenantUserStatus | undefined, status: TenantUserStatus): void {
    const ready = (of: TenantUserStatus | undefined) => of?.conditions?.find((condition) => condition.type === "Ready");
    const before = ready(previous);
    const after = ready(status);
    if (after === undefined || (before?.reason === after.reason && before.status === after.status)) return;
    const normal = after.status === "True" || after.reason === REASON.Deleting || after.reason === REASON.Progressing;
    void this.#note(normal ? "Normal" : "Warning", after.reason, after.message);
  }

  async #note(type: "Normal" | "Warning", reason: string, note: string): Promise<void> {
    const object = this.#object;
    if (object === undefined) return;
    await this.#deps.cluster.recordEvent(
      {
        object: { kind: "TenantUser", namespace: object.metadata.namespace, name: object.metadata.name, uid: object.metadata.uid },
        type,
        reason,
        action: "Reconcile",
        note,
      },
      this.#signal,
    );
  }

  async #attempt(act: () => Promise<void>): Promise<SagaError | undefined> {
    try {
      await act();
      return undefined;
    } catch (error) {
      if (error instanceof LeaseLost) throw error;
      return asSagaError(error, "kubernetes");
    }
  }

  async #postpone(error: unknown): Promise<void> {
    const failure = asSagaError(error, "kubernetes");
    this.#log("postponed", "warn", failure.message, { code: failure.code });
    const dueAt = new Date(this.#deps.clock.now() + (this.#signal.aborted ? 0 : 1000 + this.#deps.random() * 4000));
    await this.#deps.record(this.#claim, { patch: {}, lease: { dueAt }, audit: this.#audit, events: [] });
  }

  #stalledByError(): Situation {
    const error = this.#row.lastError;
    return { kind: "stalled", reason: error?.code ?? REASON.RequestRefused, message: error?.message ?? "A person must act." };
  }

  #retrying(nextAt: Date | undefined, row: SagaRow = this.#row): Situation {
    if (row.deleting !== undefined) {
      const error = row.lastError;
      return {
        kind: "deleting",
        message: error === undefined ? "Being undone: Secret, gateway account, Keycloak user." : `Being undone; ${error.message}`,
        nextAt,
      };
    }
    return { kind: "retrying", nextAt: nextAt ?? this.#now };
  }

  #debt(): string {
    const undone = this.#row.deleting?.undone ?? [];
    const owed = this.#deps.steps.map((step) => step.name).filter((name) => !undone.includes(name));
    return `Let go after 10 minutes; still owed and paid later: ${owed.join(", ")}.`;
  }

  #finishedEvents(row: SagaRow, run: { reason: string; generation: number; rotated?: boolean | undefined }): UserEvent[] {
    const generation = String(run.generation);
    const events = [this.#event("sme.user.created", row, "", { generation })];
    if (run.reason === "edit" || run.reason === "handover") {
      events.push(this.#event("sme.user.updated", row, `${row.objectUID ?? ""}/${generation}`, { generation }));
    }
    if (run.rotated === true) {
      const asked = this.#row.rotation?.requestedAt;
      const n = asked === undefined ? String(row.keyGeneration) : `${row.keyGeneration}/${asked}`;
      events.push(this.#event("sme.user.key-rotated", row, n, { key_generation: String(row.keyGeneration) }));
    }
    return events;
  }

  #event(type: Occurrence["type"], row: SagaRow, n: string, metadata: Readonly<Record<string, string>>): UserEvent {
    const { uuid, tenantID, email, keycloakUserID, newapiUserID, secretName } = row;
    return userEvent({ type, uuid, tenantID, email, keycloakUserID, newapiUserID, secretName, n, metadata }, this.#now);
  }

  #log(outcome: string, level: "info" | "warn", message?: string, more: Record<string, unknown> = {}): void {
    const row = this.#row;
    this.#deps.log[level](message ?? outcome, {
      saga: row.uuid,
      ns: row.namespace,
      name: row.name,
      gen: this.#object?.metadata.generation,
      outcome,
      ...more,
    });
  }
}

/** Stands in where no Tenant claims the namespace: nothing of it is ever used. */
const NO_TENANT: Parameters<typeof desire>[1] = {
  tenantID: "",
  namespaces: [],
  keycloak: { url: "", realm: "", credentialsSecretName: "", defaultGroups: [] },
  newapi: { dialect: "admin-v1", url: "", credentialsSecretName: "", tier: "", verifyKey: true },
  adoption: "Never",
  deletionGrace: "0s",
  suspend: false,
  allow: { groups: [], realmRoles: [], attributes: [], tiers: [], emailDomains: [], secretPrefixes: [], secretMetadata: [] },
};

function asSagaError(error: unknown, where: string): SagaError {
  if (isSagaError(error)) return error;
  return new TransientError({
    code: REASON.NeighbourUnavailable,
    message: `${where}: an unexpected failure (${error instanceof Error ? error.name : typeof error}); it is tried again.`,
    cause: error,
  });
}
