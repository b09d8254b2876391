import { randomUUID } from "node:crypto";
import { REASON } from "../api/reasons.ts";
import { withDeadline } from "../lib/deadline.ts";
import { type SagaError, WaitingError } from "../lib/errors.ts";
import { type Advanced, afterDown, afterUp, beforeUp } from "../saga/advance.ts";
import type { TenantNeighbour, Sight } from "../saga/decide.ts";
import type { Run, SagaRow, StepName } from "../saga/row.ts";
import { TENANT_FAULTS } from "../saga/tenantFaults.ts";
import { CarriesUUID, type Step, type StepContext, type UpContext } from "../steps/step.ts";
import { failed } from "./failed.ts";
import { originOf } from "./sight.ts";
import { asSagaError, type End, GivenAway, keep, LeaseLost, nowOf, tell, tenantOf, type Work } from "./work.ts";

/** All calls of one step end before the lease does (30 s from the last record). */
const STEP_DEADLINE_MS = 25_000;
const WAITED_MS = 1_000;

/** One step towards what the object asks for; an intent that must be known first is recorded first. */
export async function stepUp(work: Work, run: Run, sight: Sight): Promise<End | "goOn"> {
  if (sight.kind !== "present") throw new Error("a step went up without its object");
  const newIn = isNew(work.claim.row) ? work.claim.owner : undefined;
  const intent = beforeUp(work.claim.row, sight.desired, run, nowOf(work));
  if (intent !== undefined) await keep(work, intent);
  return take(work, run.step, "up", sight, async (step, signal) => {
    const result = await step.up({ ...upContext(work, step.name, sight), newIn }, signal);
    return afterUp(work.claim.row, run, result);
  });
}

/** Nothing was begun for this person, ever: no step was under way before this one, and none has ended. */
function isNew({ run, handled, reached, keycloakUserID, history }: SagaRow): boolean {
  const begun = run !== undefined || handled !== undefined || reached !== "pending";
  return !begun && keycloakUserID === undefined && history.length === 0;
}

export function stepDown(work: Work, name: StepName, how: "lock" | "remove", sight: Sight): Promise<End | "goOn"> {
  return take(work, name, "down", sight, async (step, signal) => {
    const learned = await step.down(context(work, name), how, signal);
    return afterDown(work.claim.row, name, how, learned);
  });
}

async function take(
  work: Work,
  name: StepName,
  direction: "up" | "down",
  sight: Sight,
  act: (step: Step, signal: AbortSignal) => Promise<Advanced>,
): Promise<End | "goOn"> {
  const { deps } = work;
  const step = deps.steps.find((candidate) => candidate.name === name);
  if (step === undefined) throw new Error(`there is no step ${name}`);
  const origin = originOf(work, name, direction);
  const began = deps.clock.now();
  let advanced: Advanced;
  try {
    advanced = await deps.crowd(origin, async () => {
      // Whoever had to wait for room renews the lease first: it must outlive the deadline that begins now.
      if (deps.clock.now() - began > WAITED_MS) await keep(work, {});
      return withDeadline(work.signal, STEP_DEADLINE_MS, (signal) => act(step, signal));
    });
    if (origin !== undefined && name !== "secret") letIn(work, origin, name);
    deps.observe({ step: name, direction, outcome: "done", ms: deps.clock.now() - began });
  } catch (error) {
    if (error instanceof LeaseLost) throw error;
    if (error instanceof CarriesUUID && (await deps.takeOver(work.claim, error.uuid))) {
      tell(work, "taken-over", "info", `This uuid is not the person's; they go on under ${error.uuid}.`);
      throw new GivenAway();
    }
    const failure = asSagaError(error instanceof CarriesUUID ? error.refusal : error, name);
    if (failure.code === REASON.MissingPermission && failure.neighbour === "kubernetes") doubtNamespace(work);
    if (origin !== undefined && !work.signal.aborted) judge(work, origin, failure);
    deps.observe({ step: name, direction, outcome: failure.class, ms: deps.clock.now() - began });
    return failed(work, name, failure, sight);
  }
  await keep(work, advanced.patch);
  return "goOn";
}

/** The neighbour answered, and let the tenant in. The Secret's step need not have asked it. */
function letIn({ deps, claim }: Work, origin: string, neighbour: TenantNeighbour): void {
  deps.breakers.success(origin);
  deps.tenantBreakers.letIn(claim.row.tenantID, neighbour);
}

/** Our rights there are asked about anew: it may be everybody's trouble, and then the Tenant says so. */
function doubtNamespace({ deps, claim }: Work): void {
  const { namespace, secretNamespace = namespace } = claim.row;
  if (secretNamespace !== undefined) deps.doubt(secretNamespace);
}

/** What a failure says of the neighbour: a refusal is an answer, and the API server's trouble is not its own. */
function judge({ deps, claim }: Work, origin: string, failure: SagaError): void {
  const { neighbour } = failure;
  if (neighbour === "kubernetes" || neighbour === "postgres") return;
  if (failure.class === "transient") {
    deps.breakers.failure(origin);
    return;
  }
  if (failure.upstreamStatus !== undefined) deps.breakers.success(origin);
  if (neighbour !== "keycloak" && neighbour !== "newapi") return;
  const { tenantID } = claim.row;
  if (failure.class === "terminal" && TENANT_FAULTS.includes(failure.code)) {
    deps.tenantBreakers.refused(tenantID, neighbour);
  } else if (failure.upstreamStatus !== undefined) deps.tenantBreakers.letIn(tenantID, neighbour);
}

function context(work: Work, step: StepName): StepContext {
  const { cluster, clock } = work.deps;
  const { row } = work.claim;
  const tenant = tenantOf(work);
  const missing = (what: string): never => {
    const why = tenant === undefined ? "The Tenant is gone." : tenant.notReadyMessage;
    throw new WaitingError({ code: REASON.TenantNotReady, message: `There are no credentials for ${what}. ${why}` });
  };
  return {
    row,
    cluster,
    realm: () => tenant?.realm ?? missing("Keycloak"),
    gateway: () => tenant?.gateway ?? missing("NewAPI"),
    accountDeletion: tenant?.spec.newapi.deletion ?? "Disable",
    wrote: (written) => {
      work.audit.push({ id: randomUUID(), uuid: row.uuid, tenantID: row.tenantID, step, ...written });
    },
    note: (patch) => keep(work, patch),
    carry: work.carry,
    now: () => clock.now(),
  };
}

function upContext(work: Work, step: StepName, sight: Extract<Sight, { kind: "present" }>): Omit<UpContext, "newIn"> {
  const tenant = tenantOf(work);
  if (tenant === undefined) throw new Error("a step went up without its Tenant");
  const { spec } = tenant;
  return {
    ...context(work, step),
    desired: sight.desired,
    realmName: spec.keycloak.realm,
    adoption: tenant.realmIsExclusive ? spec.adoption : "Never",
    allowedGroups: [...spec.keycloak.defaultGroups, ...spec.allow.groups],
  };
}
