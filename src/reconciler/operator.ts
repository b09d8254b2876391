/** What the reconciler does for the one on call: shows its records, and ends what only a person may end. */
import type { Pool } from "pg";
import { canonicalEmail } from "../api/names.ts";
import type {
  AuditPageAnswer,
  AuditView,
  EndAnswer,
  EndOrder,
  ParkedEventsAnswer,
  PeopleAnswer,
  RetriedEventsAnswer,
  SagasAnswer,
  SagaView,
  UnmanagedUser,
  UnmanagedUsersAnswer,
} from "../api/operator.ts";
import { groupPath } from "../api/names.ts";
import { type Ending, pending, ownerless, purging, waiving } from "../saga/ending.ts";
import type { SagaRow } from "../saga/row.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import {
  type AuditRow,
  auditOf,
  auditPage,
  cleanups,
  endSaga,
  ownerlessSagas,
  type RowEnd,
  sagasOf,
  type SagaSelector,
} from "../store/operator.ts";
import { parkedEvents, unparkEvents } from "../store/outbox.ts";
import { loadSaga } from "../store/sagas.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";

const MOST_SAGAS = 1000;
const MOST_ROWS_OF_ONE = 20;
const MOST_AUDIT = 500;
const AUDIT_PAGE = 1_000;

export interface OperatorDeps {
  readonly pool: Pool;
  readonly cluster: Pick<Cluster, "getTenantUser">;
  readonly clusterID: () => Promise<string>;
  readonly tenants: Pick<TenantRegistry, "get">;
  /** Something became due, or an event is to be sent. */
  readonly notify: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export type Ended =
  | { readonly kind: "done"; readonly answer: EndAnswer }
  | { readonly kind: "missing" }
  | { readonly kind: "refused"; readonly message: string };

export type UnmanagedUsers =
  | { readonly kind: "found"; readonly answer: UnmanagedUsersAnswer }
  | { readonly kind: "missing"; readonly message: string };

/** Throws what Postgres, the API server or Keycloak throw. */
export interface Operator {
  people(who: SagaSelector): Promise<PeopleAnswer>;
  cleanups(tenantID: string | undefined): Promise<SagasAnswer>;
  ownerless(tenantID: string | undefined): Promise<SagasAnswer>;
  parkedEvents(tenantID: string | undefined): Promise<ParkedEventsAnswer>;
  /** Every tenant's entries, or one's, in their order; `after` is the `next` of the page before. */
  auditPage(of: {
    readonly since: Date | undefined;
    readonly after: string;
    readonly tenantID: string | undefined;
  }): Promise<AuditPageAnswer>;
  /** Parked events are sent once more. */
  retryEvents(tenantID: string | undefined, by: string): Promise<RetriedEventsAnswer>;
  purge(uuid: string, by: string, order: EndOrder, signal: AbortSignal): Promise<Ended>;
  waive(uuid: string, by: string, order: EndOrder): Promise<Ended>;
  unmanagedUsers(tenantID: string, first: number, signal: AbortSignal): Promise<UnmanagedUsers>;
}

export function makeOperator(deps: OperatorDeps): Operator {
  const { pool, cluster, tenants, clock, log } = deps;
  const now = (): Date => new Date(clock.now());

  async function listed(rows: readonly SagaRow[]): Promise<SagasAnswer> {
    const clusterID = await deps.clusterID();
    return {
      sagas: rows.slice(0, MOST_SAGAS).map((row) => sagaView(row, clusterID, now())),
      truncated: rows.length > MOST_SAGAS,
    };
  }

  async function end(
    uuid: string,
    word: { readonly by: string; readonly order: EndOrder; readonly action: "purge" | "waive" },
    judge: (row: SagaRow) => Ending,
  ): Promise<Ended> {
    let ending: Ending | undefined;
    const { by, order, action } = word;
    const row = await endSaga(pool, uuid, (found): RowEnd | undefined => {
      ending =
        found.email === canonicalEmail(order.email)
          ? judge(found)
          : { kind: "refused", message: `The row ${uuid} is about another email: nothing was changed.` };
      if (ending.kind === "refused") return undefined;
      const detail = { by, reason: order.reason, before: found.state, steps: ending.pending };
      const entry = { uuid, tenantID: found.tenantID, step: "operator", action, target: found.email, detail };
      return { patch: ending.patch, audit: [entry], events: ending.events };
    });
    if (ending === undefined) return { kind: "missing" };
    if (ending.kind === "refused" || row === undefined) {
      return { kind: "refused", message: ending.kind === "refused" ? ending.message : "Nothing was changed." };
    }
    log.warn("ended a saga for an operator", { saga: uuid, outcome: action, by });
    deps.notify();
    return {
      kind: "done",
      answer: { saga: sagaView(row, await deps.clusterID(), now()), pending: [...ending.pending] },
    };
  }

  return {
    async people(who) {
      const rows = await sagasOf(pool, who, MOST_ROWS_OF_ONE);
      const audit = await auditOf(
        pool,
        rows.map(({ uuid }) => uuid),
        MOST_AUDIT + 1,
      );
      const { sagas } = await listed(rows);
      return { sagas, audit: audit.slice(-MOST_AUDIT).map(auditView), truncated: audit.length > MOST_AUDIT };
    },
    cleanups: async (tenantID) => listed(await cleanups(pool, tenantID, MOST_SAGAS + 1)),
    ownerless: async (tenantID) => listed(await ownerlessSagas(pool, tenantID, MOST_SAGAS + 1)),

    async auditPage(of) {
      const rows = await auditPage(pool, { ...of, limit: AUDIT_PAGE });
      const entries = rows.map(({ at, ...entry }) => ({ at: at.toISOString(), ...entry }));
      return { entries, ...(rows.length < AUDIT_PAGE ? {} : { next: rows.at(-1)?.seq }) };
    },

    async parkedEvents(tenantID) {
      const events = await parkedEvents(pool, tenantID, MOST_SAGAS + 1);
      return {
        events: events
          .slice(0, MOST_SAGAS)
          .map(({ createdAt, parkedAt, id, type, uuid, reason, tenantID: tenant }) => ({
            id,
            type,
            uuid,
            reason,
            tenantID: tenant,
            createdAt: createdAt.toISOString(),
            parkedAt: parkedAt.toISOString(),
          })),
        truncated: events.length > MOST_SAGAS,
      };
    },
    async retryEvents(tenantID, by) {
      const retried = await unparkEvents(pool, tenantID);
      log.warn("released parked events for an operator", { outcome: "retried", by, events: retried });
      deps.notify();
      return { retried };
    },

    async purge(uuid, by, order, signal) {
      const clusterID = await deps.clusterID();
      const row = await loadSaga(pool, uuid);
      if (row === undefined) return { kind: "missing" };
      // An orphan whose object is back is about to be attached again, whatever its row says at this moment.
      if (row.state === "orphaned" && row.namespace !== undefined && row.name !== undefined) {
        const object = await cluster.getTenantUser(row.namespace, row.name, signal);
        // One on its way out may have a spec of any shape.
        const email: unknown = (object?.spec as { readonly email?: unknown } | undefined)?.email;
        if (typeof email === "string" && canonicalEmail(email) === row.email) {
          const message = `TenantUser ${row.namespace}/${row.name} is there and gets these accounts back: nothing was changed.`;
          return { kind: "refused", message };
        }
      }
      return end(uuid, { by, order, action: "purge" }, (found) =>
        purging(found, { clusterID, otherCluster: order.otherCluster }, { by, reason: order.reason }, now()),
      );
    },
    waive: (uuid, by, order) =>
      end(uuid, { by, order, action: "waive" }, (found) => waiving(found, { by, reason: order.reason }, now())),

    async unmanagedUsers(tenantID, first, signal) {
      const tenant = tenants.get(tenantID);
      if (tenant === undefined) return { kind: "missing", message: `There is no accepted Tenant with id ${tenantID}.` };
      const { realm, spec, realmIsExclusive } = tenant;
      if (realm === undefined) {
        return { kind: "missing", message: `There are no credentials for Keycloak. ${tenant.notReadyMessage}` };
      }
      const allowedGroups = [...spec.keycloak.defaultGroups, ...spec.allow.groups].map(groupPath);
      const page = await realm.unmanagedUsers({ first, allowedGroups }, signal);
      return {
        kind: "found",
        answer: {
          realm: spec.keycloak.realm,
          adoption: spec.adoption,
          realmIsExclusive,
          namespaces: spec.namespaces,
          unmanagedUsers: page.unmanagedUsers.map((each) => ({
            ...each,
            obstacle: each.obstacle ?? notAllowed(each, tenant),
          })),
          next: page.next,
        },
      };
    },
  };
}

/** What would refuse the manifest, beside Keycloak's own reasons. */
function notAllowed({ email = "" }: UnmanagedUser, { spec }: TenantAccess): string | undefined {
  const domain = canonicalEmail(email).slice(email.trim().lastIndexOf("@") + 1);
  const { emailDomains } = spec.allow;
  if (emailDomains.length === 0 || emailDomains.some((allowed) => allowed.toLowerCase() === domain)) return undefined;
  return `its email domain ${domain} is not in the Tenant's allow.emailDomains`;
}

function sagaView(row: SagaRow, clusterID: string, now: Date): SagaView {
  const { uuid, tenantID, email, state, namespace, name, objectUID, keycloakUserID, newapiUserID, adopted } = row;
  const { run, deleting, secretNamespace, secretName, secretUID } = row;
  return {
    uuid,
    tenantID,
    email,
    state,
    namespace,
    name,
    objectUID,
    keycloakUserID,
    newapiUserID,
    adopted,
    secret: secretUID === undefined ? undefined : `${secretNamespace ?? ""}/${secretName ?? ""}`,
    thisCluster: row.clusterID === undefined || row.clusterID === clusterID,
    since: deleting?.since ?? row.history[0]?.at,
    ownerless: ownerless(row, now),
    pending: pending(row, now),
    // Nothing of an orphan ends by itself.
    purgeAt: row.state === "orphaned" ? undefined : deleting?.purgeAt,
    retryCount: row.retryCount,
    dueAt: row.dueAt?.toISOString(),
    run: run === undefined ? undefined : { reason: run.reason, step: run.step, attempt: run.attempt },
    lastError: row.lastError,
    history: [...row.history],
    createdAt: row.createdAt.toISOString(),
  };
}

function auditView({ at, ...entry }: AuditRow): AuditView {
  return { at: at.toISOString(), ...entry };
}
