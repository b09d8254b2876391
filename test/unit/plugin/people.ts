/** People as the API server shows them, for the plugin's tests. */
import type { Condition } from "../../../src/api/meta.ts";
import type { TenantUserStatus } from "../../../src/api/tenantUser.ts";
import { type UserView, person } from "../../../src/plugin/userView.ts";
import type { SagaView } from "../../../src/api/operator.ts";
import { NOW, OBJECT_UID, ADA } from "../../support/builders.ts";

export { NOW };

export function personWith(
  given: {
    metadata?: Record<string, unknown>;
    spec?: Record<string, unknown>;
    status?: TenantUserStatus;
    conditions?: readonly Partial<Condition>[];
  } = {},
): UserView {
  const conditions = given.conditions?.map((each) => ({
    type: "Ready",
    status: "True",
    reason: "Ready",
    message: "The key opens the gateway.",
    lastTransitionTime: "2026-05-01T11:30:00Z",
    ...each,
  }));
  return person.parse({
    apiVersion: "catalyst.openova.io/v1alpha1",
    kind: "TenantUser",
    metadata: {
      name: "ada",
      namespace: "tenant-a",
      uid: OBJECT_UID,
      resourceVersion: "100",
      generation: 1,
      creationTimestamp: "2026-05-01T11:00:00Z",
      ...given.metadata,
    },
    spec: { email: "ada@example.com", ...given.spec },
    status: { observedGeneration: 1, userUUID: ADA, ...given.status, conditions },
  });
}

export const READY = { type: "Ready" };
export const waitingFor = (reason: string, message = "It waits."): Partial<Condition>[] => [
  { type: "Ready", status: "False", reason, message },
  { type: "Reconciling", status: "True", reason, message },
];
export const stalledBy = (reason: string, message = "Somebody must act."): Partial<Condition>[] => [
  { type: "Ready", status: "False", reason, message },
  { type: "Stalled", status: "True", reason, message },
];

export function sagaWith(given: Partial<SagaView> = {}): SagaView {
  return {
    uuid: ADA,
    tenantID: "acme",
    email: "ada@example.com",
    state: "done",
    namespace: "tenant-a",
    name: "ada",
    objectUID: OBJECT_UID,
    keycloakUserID: "kc-1",
    newapiUserID: "na-1",
    adopted: false,
    thisCluster: true,
    pending: [],
    retryCount: 0,
    history: [],
    createdAt: "2026-05-01T11:00:00.100Z",
    ...given,
  };
}
