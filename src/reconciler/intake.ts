import type { Pool } from "pg";
import { FINALIZER } from "../api/meta.ts";
import { canonicalEmail } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { report, sameStatus, type Situation } from "../saga/report.ts";
import { bind, type Binding } from "../store/bindings.ts";
import { forgetApplicant, listWaiting, waitForTenant } from "../store/waiting.ts";
import { touchObject } from "../store/sightings.ts";
import type { TenantRegistry } from "./access.ts";

export interface IntakeDeps {
  readonly pool: Pool;
  readonly cluster: Cluster;
  readonly clusterID: () => Promise<string>;
  readonly tenants: TenantRegistry;
  /** Something became due. */
  readonly look: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Intake {
  /** Finds the row of an object that has none yet: bound, or waiting, or refused; and says so on the object. */
  consider(namespace: string, name: string, signal: AbortSignal): Promise<void>;
  /** Something was released: those who wait are considered again, oldest first. All tenants when undefined. */
  reconsider(tenantID: string | undefined, signal: AbortSignal): Promise<void>;
}

/** Gives objects their rows. Throws what Postgres or the API server throw: the caller tries again. */
export function makeIntake(deps: IntakeDeps): Intake {
  const { pool, cluster, tenants, log } = deps;

  async function consider(namespace: string, name: string, signal: AbortSignal): Promise<void> {
    const object = (await cluster.getTenantUser(namespace, name, signal)) as LiveTenantUser | undefined;
    if (object === undefined) return;
    if (object.metadata.deletionTimestamp !== undefined) {
      await leave(object, signal);
      return;
    }
    const tenant = tenants.byNamespace(namespace);
    const email = canonicalEmail(object.spec.email);
    const createdAt = new Date(object.metadata.creationTimestamp);
    if (tenant === undefined) {
      await waitForTenant(pool, { uid: object.metadata.uid, namespace, name, createdAt, email });
      await say(
        object,
        "waiting",
        {
          reason: REASON.NoTenant,
          message: `No Tenant claims namespace ${JSON.stringify(namespace)}; the platform must add it to one.`,
        },
        signal,
      );
      return;
    }
    const binding = await bind(
      pool,
      {
        uid: object.metadata.uid,
        namespace,
        name,
        createdAt,
        tenantID: tenant.tenantID,
        email,
        pin: object.spec.userUUID,
        maxUsers: tenant.spec.limits?.maxUsers,
        clusterID: await deps.clusterID(),
      },
      async (pin) => {
        const found = await tenant.realm?.findUser(pin, tenant.tenantID, signal);
        return found === undefined ? undefined : pin;
      },
    );
    if (binding.kind === "bound") {
      log.info(binding.returned ? "A person is back." : "A new person.", {
        saga: binding.row.uuid,
        ns: namespace,
        name,
        outcome: "bound",
      });
      deps.look();
      return;
    }
    await say(object, binding.kind, binding, signal);
  }

  /** An object that goes and never had a row: nothing was made for it, so nothing holds it. */
  async function leave(object: LiveTenantUser, signal: AbortSignal): Promise<void> {
    if (await touchObject(pool, object.metadata.uid)) {
      deps.look();
      return;
    }
    if (object.metadata.finalizers?.includes(FINALIZER) === true) await cluster.removeFinalizer(object, signal);
    // Last: until it is let go, whoever looks at those who wait finds it.
    await forgetApplicant(pool, object.metadata.uid);
  }

  async function say(
    object: LiveTenantUser,
    kind: "waiting" | "refused",
    why: Pick<Extract<Binding, { kind: "waiting" }>, "reason" | "message">,
    signal: AbortSignal,
  ): Promise<void> {
    const situation: Situation =
      kind === "waiting"
        ? { kind: "waiting", reason: why.reason, message: why.message }
        : { kind: "stalled", reason: why.reason, message: why.message };
    const status = report(
      {
        row: undefined,
        generation: object.metadata.generation,
        desired: undefined,
        situation,
        previous: object.status,
      },
      new Date(deps.clock.now()),
    );
    if (sameStatus(object.status, status)) return;
    const { namespace, name, uid } = object.metadata;
    log.info(why.message, { ns: namespace, name, outcome: why.reason });
    await cluster.applyTenantUserStatus(object, status, signal);
    await cluster.recordEvent(
      {
        object: { kind: "TenantUser", namespace, name, uid },
        type: "Warning",
        reason: why.reason,
        action: "Reconcile",
        note: why.message,
      },
      signal,
    );
  }

  return {
    consider,
    reconsider: async (tenantID, signal) => {
      for (const waiter of await listWaiting(pool, tenantID)) {
        try {
          // An object that has a row waits for an email to move to; its row looks again.
          if (await touchObject(pool, waiter.uid)) deps.look();
          else if ((await cluster.getTenantUser(waiter.namespace, waiter.name, signal)) === undefined) {
            await forgetApplicant(pool, waiter.uid);
          } else await consider(waiter.namespace, waiter.name, signal);
        } catch (error) {
          if (!isSagaError(error)) throw error;
          log.warn("One who waits could not be looked at; the next release or heartbeat does.", {
            ns: waiter.namespace,
            name: waiter.name,
            error,
          });
        }
      }
    },
  };
}
