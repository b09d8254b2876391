/** What the reconciler must know about the cluster itself before it undoes or writes anything. */
import * as z from "zod";
import { GROUP, KINDS, objectMeta } from "../api/meta.ts";
import { pathSegment } from "../lib/ids.ts";
import type { Cluster } from "./cluster.ts";
import { type ApiClient, METADATA_ONLY } from "./apiClient.ts";
import { ask, read } from "./exchange.ts";
import { unavailable } from "./failures.ts";

type Platform = Pick<Cluster, "clusterID" | "tenantUserCRD" | "namespaceActive">;

const withMeta = z.looseObject({ metadata: objectMeta });
const withUID = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) });

export function makePlatform(connection: ApiClient): Platform {
  const metadataOf = async (doing: string, path: string, signal: AbortSignal) => {
    const request = { method: "GET", path, accept: METADATA_ONLY } as const;
    return ask(connection, { doing, request }, signal);
  };

  return {
    async clusterID(signal) {
      const doing = "get namespaces kube-system";
      const answer = await metadataOf(doing, "/api/v1/namespaces/kube-system", signal);
      if (answer !== undefined) return read(withUID, answer, doing).metadata.uid;
      // A fresh API server makes it a moment after it begins to serve.
      throw unavailable("The namespace kube-system is not there yet.", { upstreamStatus: 404 });
    },
    async tenantUserCRD(signal) {
      const name = `${KINDS.TenantUser.plural}.${GROUP}`;
      const doing = `get customresourcedefinitions ${name}`;
      const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`;
      const answer = await metadataOf(doing, path, signal);
      if (answer === undefined) return "gone";
      return read(withMeta, answer, doing).metadata.deletionTimestamp === undefined ? "present" : "terminating";
    },
    async namespaceActive(namespace, signal) {
      const doing = `get namespaces ${namespace}`;
      const answer = await metadataOf(doing, `/api/v1/namespaces/${pathSegment(namespace)}`, signal);
      return answer !== undefined && read(withMeta, answer, doing).metadata.deletionTimestamp === undefined;
    },
  };
}
