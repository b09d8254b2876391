/** Helm: the tests lint, render and install the charts with it. No part of the running stack, so `obtain` leaves it out. */
import { existsSync } from "node:fs";

import { cacheEntry } from "./cache.ts";
import { goCacheKey, goVersion, obtainGoPart, programsToBuild, type GoPart } from "./go.ts";

const VERSION = "v4.3.2";
const MODULE = "helm.sh/helm/v4";

export const helmPart: GoPart = {
  name: "helm",
  title: "Helm",
  programs: { helm: `${MODULE}/cmd/helm` },
  // Without it, helm calls itself v4.0 and a chart's kubeVersion and "helm version" say nothing.
  ldflags: `-X ${MODULE}/internal/version.version=${VERSION}`,
};

/** The path of the program: built once (about three minutes on two cores), then taken from the cache. */
export async function obtainHelm(detail: (text: string) => void = () => {}): Promise<string> {
  const { programs } = await obtainGoPart(helmPart, detail);
  const helm = programs.get("helm");
  if (helm === undefined) throw new Error("the part helm has no program helm");
  return helm;
}

/** Whether {@link obtainHelm} has nothing to build. */
export async function isHelmBuilt(): Promise<boolean> {
  const wanted = programsToBuild(helmPart);
  // A machine without Go has built nothing.
  const version = await goVersion(helmPart).catch(() => undefined);
  return version !== undefined && existsSync(cacheEntry(goCacheKey(helmPart, wanted, version)));
}
