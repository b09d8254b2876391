import type { Pool } from "pg";
import { FINALIZER } from "../api/meta.ts";
import { canonicalEmail } from "../api/names.ts";
import { CONDITION, REASON } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { conditionOf } from "../saga/conditions.ts";
import { report, sameStatus } from "../saga/report.ts";
import { bind, type HeldBack } from "../store/bindings.ts";
import { forgetBindRequest, notePendingTold, type PendingUser, waitForTenant } from "../store/waiting.ts";
import { touchObject } from "../store/observations.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";
import type { Pins } from "./pinQuestions.ts";
import { heldBack, recordEvent } from "./writeStatus.ts";

export interface IntakeDeps {
  readonly pool: Pool;
  readonly cluster: Cluster;
  readonly clusterID: () => Promise<string>;
  readonly tenants: TenantRegistry;
  /** The intake itself asks no upstream: nobody waits here for one that does not answer. */
  readonly pins: Pins;
  /** Something became due. */
  readonly notify: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** What came of an object: it has a row, it waits, a person must act, or there is none of it. */
export type Outcome = "bound" | "waiting" | "refused" | "gone";

export interface Intake {
  /** Finds the row of an object that has none yet: bound, or waiting, or refused; and says so on the object. */
  consider(namespace: string, name: string, signal: AbortSignal): Promise<Outcome>;
  /** The same for one who waits. `touched`: it has a row and waits for an email to move to; the row is due. */
  reconsider(pendingUser: PendingUser, signal: AbortSignal): Promise<Outcome | "touched">;
}

/** Gives objects their rows. Throws what Postgres or the API server throw: the caller tries again. */
export function makeIntake(deps: IntakeDeps): Intake {
  const { pool, cluster, tenants, log } = deps;

  async function consider(namespace: string, name: string, signal: AbortSignal, uid?: string): Promise<Outcome> {
    const object = await cluster.getTenantUser(namespace, name, signal);
    if (object === undefined || (uid !== undefined && object.metadata.uid !== uid)) return "gone";
    if (object.metadata.deletionTimestamp !== undefined) return leave(object, signal);
    const tenant = tenants.byNamespace(namespace);
    const email = canonicalEmail(object.spec.email);
    const createdAt = new Date(object.metadata.creationTimestamp);
    if (tenant === undefined) {
      await waitForTenant(pool, { uid: object.metadata.uid, namespace, name, createdAt, email });
      // One that came meanwhile may have called those who waited before this one did.
      if (tenants.byNamespace(namespace) !== undefined) return consider(namespace, name, signal, uid);
      const message = `No Tenant claims namespace ${JSON.stringify(namespace)}. Ask the platform to add it to one.`;
      await hold(object, { kind: "waiting", reason: REASON.NoTenant, message }, signal);
      return "waiting";
    }
    const { tenantID } = tenant;
    const unknown = new Set<string>();
    const binding = await bind(
      pool,
      {
        uid: object.metadata.uid,
        namespace,
        name,
        createdAt,
        tenantID,
        email,
        pin: object.spec.userUUID,
        maxUsers: tenant.spec.limits?.maxUsers,
        clusterID: await deps.clusterID(),
      },
      (pin) => {
        const answer = deps.pins.known(tenantID, pin);
        if (answer !== "carried" && answer !== "free") unknown.add(pin);
        return answer === "carried" ? pin : undefined;
      },
    );
    if (binding.kind === "bound") {
      log.info(binding.returned ? "bound a returning user" : "bound a new user", {
        saga: binding.row.uuid,
        namespace,
        name,
        outcome: "bound",
      });
      deps.notify();
      return "bound";
    }
    const [pin] = unknown;
    if (pin !== undefined && binding.kind === "refused" && binding.reason === REASON.UUIDNotYours) {
      // As it is by now: what made it ready meanwhile may have called those who waited before this one did.
      return awaitAnswer(object, tenants.get(tenantID) ?? tenant, pin, signal);
    }
    await hold(object, binding, signal);
    return binding.kind;
  }

  /** Whose the pin is, only Keycloak knows, which is asked elsewhere. Until it answers, what was said of it stands. */
  async function awaitAnswer(
    object: LiveTenantUser,
    tenant: TenantAccess,
    pin: string,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { namespace, name, uid, creationTimestamp, generation } = object.metadata;
    if (!tenant.ready || tenant.realm === undefined) {
      await hold(object, { kind: "waiting", reason: REASON.TenantNotReady, message: tenant.notReadyMessage }, signal);
      return "waiting";
    }
    const { tenantID } = tenant;
    deps.pins.ask({ tenantID, pin, object: { namespace, name, uid, createdAt: new Date(creationTimestamp) } });
    const before = conditionOf(object.status, CONDITION.Ready);
    if (before?.reason === REASON.UUIDNotYours && before.observedGeneration === generation) return "refused";
    if (deps.pins.known(tenantID, pin) === "unanswered") {
      const message = `Keycloak does not answer, so it is not known whether spec.userUUID ${pin} is this tenant's; it is asked again by itself.`;
      await hold(object, { kind: "waiting", reason: REASON.UpstreamUnavailable, message }, signal);
    }
    return "waiting";
  }

  /** An object that goes and never had a row: nothing was made for it, so nothing holds it. */
  async function leave(object: LiveTenantUser, signal: AbortSignal): Promise<Outcome> {
    if (await touchObject(pool, object.metadata.uid)) {
      deps.notify();
      return "bound";
    }
    if (object.metadata.finalizers?.includes(FINALIZER) === true) await cluster.removeFinalizer(object, signal);
    // Last: until it is released, whoever reads those who wait finds it.
    await forgetBindRequest(pool, object.metadata.uid);
    return "gone";
  }

  /** Says on the object why it has no row. */
  async function hold(object: LiveTenantUser, binding: HeldBack, signal: AbortSignal): Promise<void> {
    const { reason, message } = binding;
    const situation = heldBack(binding);
    const { namespace, name, uid, generation } = object.metadata;
    const of = { row: undefined, generation, desired: undefined, situation, previous: object.status };
    const status = report(of, new Date(deps.clock.now()));
    if (!sameStatus(object.status, status)) {
      log.info("held back a user", { namespace, name, outcome: reason, message });
      await cluster.applyTenantUserStatus(object, status, signal);
      await recordEvent(deps, object, { type: "Warning", reason, note: message }, signal);
    }
    await notePendingTold(pool, uid, generation);
  }

  return {
    consider,
    reconsider: async (pendingUser, signal) => {
      if (!(await touchObject(pool, pendingUser.uid)))
        return consider(pendingUser.namespace, pendingUser.name, signal, pendingUser.uid);
      deps.notify();
      return "touched";
    },
  };
}
