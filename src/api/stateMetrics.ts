/** How kube-state-metrics shows each of our objects: state of single objects belongs there, and not in our metrics. */
import { GROUP, type Kind, VERSION } from "./meta.ts";
import { SAGA_STATES } from "./tenantUser.ts";

const gauge = (name: string, help: string, path: readonly string[], more: object = {}) => ({
  name,
  help,
  each: { type: "Gauge", gauge: { path, nilIsZero: true, ...more } },
});

const CONDITION = gauge("condition", "Whether a condition is True: 1 or 0.", ["status", "conditions"], {
  labelsFromPath: { type: ["type"], reason: ["reason"] },
  valueFrom: ["status"],
});

function resource(kind: Kind, labels: Readonly<Record<string, readonly string[]>>, metrics: readonly object[]): object {
  return {
    groupVersionKind: { group: GROUP, version: VERSION, kind },
    metricNamePrefix: `kube_${kind.toLowerCase()}`,
    labelsFromPath: labels,
    metrics: [CONDITION, ...metrics],
  };
}

/** The value of its option --custom-resource-state-config-file. */
export function stateMetrics(): object {
  return {
    kind: "CustomResourceStateMetrics",
    spec: {
      resources: [
        resource("TenantUser", { namespace: ["metadata", "namespace"], name: ["metadata", "name"] }, [
          {
            name: "state",
            help: "The state of the user: 1 for the one that it is in.",
            each: {
              type: "StateSet",
              stateSet: { labelName: "state", path: ["status", "state"], list: [...SAGA_STATES, "waiting"] },
            },
          },
          gauge("created", "When the object was created, in seconds since 1970.", ["metadata", "creationTimestamp"]),
          gauge("deletion_timestamp", "When it was deleted, in seconds since 1970; 0: it was not.", [
            "metadata",
            "deletionTimestamp",
          ]),
          gauge("retry_count", "Failed attempts in a row at the current step.", ["status", "retryCount"]),
        ]),
        resource("Tenant", { name: ["metadata", "name"], tenant: ["spec", "tenantID"] }, [
          gauge("users", "Users of the Tenant, with those who wait.", ["status", "users", "total"]),
          gauge("max_users", "The most users that the Tenant may have; 0: no limit.", ["spec", "limits", "maxUsers"]),
        ]),
      ],
    },
  };
}
