import { REASON } from "../api/reasons.ts";
import { AddressHeld } from "../keycloak/realm.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import { withDeadline } from "../lib/deadline.ts";
import { isOverload, type SagaError, WaitingError } from "../lib/errors.ts";
import { type Advanced, afterDown, afterUp, beforeUp } from "../saga/advance.ts";
import { type Desired, vouches } from "../saga/desired.ts";
import type { LastError, RowPatch, Run, SagaRow, StepName } from "../saga/row.ts";
import { SECRET_OBSTACLES } from "../saga/secretObstacles.ts";
import { CarriesUUID, type Carry, type Step, type StepContext, type UpContext } from "../steps/step.ts";
import type { Span, Tracer } from "../lib/tracing.ts";
import type { Claim } from "../store/claims.ts";
import { originAt, type TenantAccess, type TenantRegistry } from "./access.ts";
import { freeAddress, type FreeAddressDeps } from "./freeAddress.ts";
import { asSagaError, judgeCall, type Judges } from "./judge.ts";
import { type Lease, LeaseLost } from "./lease.ts";
import type { OriginLimits } from "./originLimits.ts";

/** All calls of one step end before the lease does (30 s from the last record). */
const STEP_DEADLINE_MS = 25_000;
const WAITED_MS = 1_000;

export interface StepDeps extends Judges, FreeAddressDeps {
  readonly cluster: Cluster;
  readonly tenants: TenantRegistry;
  readonly steps: readonly Step[];
  /** False: somebody living holds that uuid. */
  readonly takeOver: (claim: Claim, uuid: string) => Promise<boolean>;
  /** The API server refused us something in this namespace. */
  readonly invalidateAccessCheck: (namespace: string) => void;
  /** What calls an upstream runs here, with not too many at that origin at once. */
  readonly originLimits: Pick<OriginLimits, "run">;
  readonly observe: (end: {
    readonly step: StepName;
    readonly direction: "up" | "down";
    readonly outcome: "done" | SagaError["class"];
    readonly ms: number;
  }) => void;
  readonly tracer: Tracer;
  readonly clock: Clock;
}

/** How the call of a step ended. */
export type StepEnd =
  | { readonly kind: "done"; readonly patch: RowPatch }
  | { readonly kind: "failed"; readonly step: LastError["step"]; readonly failure: SagaError }
  /** The person's account carries this uuid, and the object resumes under it. */
  | { readonly kind: "taken-over"; readonly uuid: string };

/** The steps of one claim. They throw only what Postgres throws, and that the lease is lost. */
export interface StepCalls {
  /** One step towards what the object asks for; an intent that must be known first is recorded first. */
  up(run: Run, desired: Desired): Promise<StepEnd>;
  down(name: StepName, how: "lock" | "remove"): Promise<StepEnd>;
  /** The mail alone; whatever comes of it, the person stays as ready as before. */
  invite(desired: Desired): Promise<void>;
}

export function makeStepCalls(deps: StepDeps, lease: Lease, signal: AbortSignal): StepCalls {
  const { cluster, clock } = deps;
  /** What a step of this claim saw, for the steps after it. */
  const carry: Carry = {};

  const tenant = (): TenantAccess | undefined => deps.tenants.get(lease.row().tenantID);

  function stepOf(name: StepName): Step {
    const step = deps.steps.find((candidate) => candidate.name === name);
    if (step === undefined) throw new Error(`there is no step ${name}`);
    return step;
  }

  /** Whose breaker and limit a step belongs to: scheme, host and port of its upstream. */
  function originOf(step: StepName, direction: "up" | "down"): string | undefined {
    const spec = tenant()?.spec;
    if (spec === undefined || (step === "secret" && direction === "down")) return undefined;
    return originAt(spec, step === "keycloak" ? "keycloak" : "newapi");
  }

  /** Waits for room at the origin: the lease outlives the wait, and the deadline begins after it. */
  function atOrigin<T>(origin: string | undefined, name: StepName, act: (cut: AbortSignal) => Promise<T>): Promise<T> {
    const asked = clock.now();
    return deps.originLimits.run(
      {
        origin,
        tenantID: lease.row().tenantID,
        whileWaiting: () => lease.recordAndContinue({}),
        act: async () => {
          if (clock.now() - asked > WAITED_MS) await lease.recordAndContinue({});
          return withDeadline(signal, STEP_DEADLINE_MS, act);
        },
        judge: (error) => (!signal.aborted && isTooMuch(asSagaError(error, name)) ? "overloaded" : "neither"),
      },
      signal,
    );
  }

  function call(
    name: StepName,
    direction: "up" | "down",
    act: (step: Step, cut: AbortSignal) => Promise<Advanced>,
  ): Promise<StepEnd> {
    const attributes = { "unified_rbac.step": name, "unified_rbac.attempt": lease.row().retryCount };
    return deps.tracer.inSpan(`${name} ${direction}`, { attributes }, (span) => callIn(span, name, direction, act));
  }

  async function callIn(
    span: Span,
    name: StepName,
    direction: "up" | "down",
    act: (step: Step, cut: AbortSignal) => Promise<Advanced>,
  ): Promise<StepEnd> {
    const [step, origin, { tenantID, uuid: person }] = [stepOf(name), originOf(name, direction), lease.row()];
    let began = clock.now();
    const measure = (outcome: "done" | SagaError["class"]): void => {
      span.set({ "unified_rbac.outcome": outcome });
      deps.observe({ step: name, direction, outcome, ms: clock.now() - began });
    };
    try {
      const { patch } = await atOrigin(origin, name, (cut) => {
        began = clock.now();
        return act(step, cut);
      });
      // The upstream answered, and let the tenant in. The Secret's step need not have asked it.
      if (origin !== undefined && name !== "secret") {
        deps.breakers.success(origin);
        deps.tenantBreakers.recordAccepted(tenantID, name);
      }
      measure("done");
      return { kind: "done", patch };
    } catch (error) {
      if (error instanceof LeaseLost) throw error;
      const uuid = error instanceof CarriesUUID ? await takeOver(error) : undefined;
      if (uuid !== undefined) return { kind: "taken-over", uuid };
      const thrown = asSagaError(error instanceof CarriesUUID ? error.refusal : error, name);
      const failure = thrown.upstream === "kubernetes" ? await inNamespace(thrown) : thrown;
      if (origin !== undefined && !signal.aborted) judgeCall(deps, { origin, tenantID, person, failure, began });
      measure(failure.class);
      span.fail(failure);
      if (failure instanceof AddressHeld) await freeAddress(deps, lease, failure.holder, signal);
      return { kind: "failed", step: SECRET_OBSTACLES.includes(failure.code) ? "secret" : name, failure };
    }
  }

  /** The uuid that was taken over; undefined: none of them may be. */
  async function takeOver({ uuid, others }: CarriesUUID): Promise<string | undefined> {
    for (const carried of [uuid, ...others]) if (await deps.takeOver(lease.claim(), carried)) return carried;
    return undefined;
  }

  /**
   * A namespace on its way out loses our Role before it loses its people: who would apply it again there? In any other one
   * our rights are asked about again: it may be everybody's failure, and then the Tenant says so.
   */
  async function inNamespace(failure: SagaError): Promise<SagaError> {
    const { namespace: own, secretNamespace: namespace = own } = lease.row();
    if (namespace === undefined) return failure;
    const isForbidden = failure.code === REASON.MissingPermission;
    const isGoing = isForbidden
      ? !(await cluster.namespaceActive(namespace, signal).catch(() => true))
      : failure.code === REASON.NamespaceTerminating;
    if (isForbidden && !isGoing) deps.invalidateAccessCheck(namespace);
    if (!isGoing) return failure;
    const message = `Namespace ${JSON.stringify(namespace)} is being deleted together with its users. You do not need to act.`;
    return new WaitingError({ code: REASON.NamespaceTerminating, upstream: "kubernetes", message });
  }

  function context(step: StepName): StepContext {
    const row = lease.row();
    const { uuid, tenantID } = row;
    const access = tenant();
    const missing = (what: string): never => {
      const why = access === undefined ? "The Tenant is gone." : access.notReadyMessage;
      throw new WaitingError({ code: REASON.TenantNotReady, message: `There are no credentials for ${what}. ${why}` });
    };
    return {
      row,
      cluster,
      realm: () => access?.realm ?? missing("Keycloak"),
      gateway: () => access?.gateway ?? missing("NewAPI"),
      accountDeletion: access?.spec.newapi.deletion ?? "Disable",
      wrote: (written) => lease.wrote({ uuid, tenantID, step, ...written }),
      note: (patch) => lease.recordAndContinue(patch),
      carry,
      now: () => clock.now(),
    };
  }

  function upContext(step: StepName, desired: Desired, newIn: number | undefined): UpContext {
    const access = tenant();
    if (access === undefined) throw new Error("a step went up without its Tenant");
    const { spec, realmIsExclusive } = access;
    return {
      ...context(step),
      desired,
      realmName: spec.keycloak.realm,
      adoption: realmIsExclusive ? spec.adoption : "Never",
      allowedGroups: [...spec.keycloak.defaultGroups, ...spec.allow.groups],
      vouched: vouches(desired.email, spec, realmIsExclusive),
      newIn,
    };
  }

  return {
    async up(run, desired) {
      const newIn = isNew(lease.row()) ? lease.claim().owner : undefined;
      const intent = beforeUp(lease.row(), desired, run, new Date(clock.now()));
      if (intent !== undefined) await lease.recordAndContinue(intent);
      return call(run.step, "up", async (step, cut) => {
        const result = await step.up(upContext(run.step, desired, newIn), cut);
        return afterUp(lease.row(), run, result);
      });
    },
    down: (name, how) =>
      call(name, "down", async (step, cut) => {
        const learned = await step.down(context(name), how, cut);
        return afterDown(lease.row(), name, how, learned);
      }),
    async invite(desired) {
      const { invite } = stepOf("keycloak");
      if (invite === undefined) throw new Error("there is no step that invites");
      const asked = upContext("keycloak", desired, undefined);
      await atOrigin(originOf("keycloak", "up"), "keycloak", (cut) => invite(asked, cut));
    },
  };
}

/** Nothing was begun for this person, ever: no step was under way before this one, and none has ended. */
function isNew({ run, handled, reached, keycloakUserID, history }: SagaRow): boolean {
  const begun = run !== undefined || handled !== undefined || reached !== "pending";
  return !begun && keycloakUserID === undefined && history.length === 0;
}

/** What the API server does not bear is not the upstream's. */
function isTooMuch(failure: SagaError): boolean {
  return failure.upstream !== "kubernetes" && isOverload(failure);
}
