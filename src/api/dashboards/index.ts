import { ON_CALL } from "./onCall.ts";
import { OVERVIEW } from "./overview.ts";
import type { Dashboard } from "./panel.ts";
import { UPSTREAMS_AND_TENANTS } from "./upstreams.ts";

/** By the name of its file in manifests/monitoring/dashboards. */
export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  overview: OVERVIEW,
  "upstreams-and-tenants": UPSTREAMS_AND_TENANTS,
  "on-call": ON_CALL,
};
