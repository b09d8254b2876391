import { accepts } from "../probe.ts";
import { kubeconfigFile, pkiFile } from "../pki.ts";
import { dataDir, program, type Part } from "./part.ts";

/** What makes namespaces, service accounts, owners and workloads behave. */
const controllers = [
  "namespace-controller",
  "garbage-collector-controller",
  "serviceaccount-controller",
  "serviceaccount-token-controller",
  "root-ca-certificate-publisher-controller",
  "clusterrole-aggregation-controller",
  "resourcequota-controller",
  "deployment-controller",
  "replicaset-controller",
];

/** What Pods on a node need, and a chart's hooks. */
const controllersOfNode = [
  "endpointslice-controller",
  "disruption-controller",
  "node-lifecycle-controller",
  "taint-eviction-controller",
  "pod-garbage-collector-controller",
  "job-controller",
];

export const controllerManager: Part = {
  name: "controller-manager",
  title: "kube-controller-manager",
  needs: ["apiserver"],
  command: (context) => ({
    file: program(context, "kube-controller-manager"),
    args: [
      `--kubeconfig=${kubeconfigFile(context.dir, "controller-manager")}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${context.ports.controllerManager}`,
      `--cert-dir=${dataDir(context, "controller-manager")}`,
      `--service-account-private-key-file=${pkiFile(context.dir, "service-account.key")}`,
      `--root-ca-file=${pkiFile(context.dir, "ca.crt")}`,
      "--use-service-account-credentials=true",
      "--leader-elect=false",
      `--controllers=${[...controllers, ...(context.node ? controllersOfNode : [])].join()}`,
      // A quota of a kind that was defined a moment ago refuses everything until it is counted: by itself in five minutes.
      "--resource-quota-sync-period=5s",
      "--profiling=false",
    ],
  }),
  ready: ({ ports }) => accepts(ports.controllerManager),
};
