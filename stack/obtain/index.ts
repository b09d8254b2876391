import { existsSync } from "node:fs";
import { join } from "node:path";

import { runTasks, type Reporter } from "../progress.ts";
import { cacheEntry } from "./cache.ts";
import { makeEstimate } from "./estimate.ts";
import { goCacheKey, goParts, goVersion, nodeGoParts, obtainGoPart, programsToBuild, type GoPart } from "./go.ts";
import { keycloakCacheKey, obtainKeycloak, type Keycloak } from "./keycloak.ts";
import { postgresHome } from "./postgres.ts";
import { missingForNode } from "./nodePackages.ts";
import { missingPrerequisites } from "./prerequisites.ts";

/** Where everything that the stack runs is. Plain data: a stack keeps it, to start a single part again. */
export interface Obtained {
  readonly programs: Readonly<Record<string, string>>;
  /** The folder with Gitea's templates, options and public. */
  readonly giteaStatic: string;
  /** Folders with the definitions of Flux's kinds. */
  readonly fluxCrds: readonly string[];
  readonly keycloak: Keycloak;
  readonly postgres: string;
}

export interface ObtainOptions {
  /** With what runs Pods. */
  readonly node?: boolean;
}

/** Fetches and builds what is not there yet. Seconds when all is; 13 minutes on two quiet cores when nothing is. */
export async function obtain(log?: (line: string) => void, { node = false }: ObtainOptions = {}): Promise<Obtained> {
  const wanted = node ? [...goParts, ...nodeGoParts] : goParts;
  const missing = [...missingPrerequisites({ goFor: partsForGo(wanted) }), ...(node ? missingForNode() : [])];
  if (missing.length > 0) throw new Error(missing.join("\n"));

  const toBuild = await missingParts(wanted);
  // With Keycloak and Postgres.
  const estimate = makeEstimate(toBuild, wanted.length + 2 - toBuild.length);
  const programs = new Map<string, string>();
  const entries = new Map<string, string>();
  let keycloak: Keycloak | undefined;
  // One Go build at a time: each uses all cores by itself. Keycloak's fetch and build run beside them.
  let before: Promise<unknown> = Promise.resolve();
  const goTasks = wanted.map((part) => {
    const turn = before;
    const mine = Promise.withResolvers<void>();
    before = mine.promise;
    return {
      title: part.title,
      run: async ({ detail, begin }: Reporter) => {
        try {
          detail("waiting for its turn");
          await turn;
          begin();
          estimate.begin(part.name);
          const cachedAlready = await isCached(part);
          const result = await obtainGoPart(part, detail);
          estimate.done(part.name);
          for (const [name, file] of result.programs) programs.set(name, file);
          if (result.entry) entries.set(part.name, result.entry);
          if (!result.entry) return "found on this machine";
          return cachedAlready ? "there already" : "built";
        } finally {
          mine.resolve();
        }
      },
    };
  });
  // Nothing to wait for, nothing to show.
  const quiet = toBuild.length === 0;
  await runTasks(
    [
      ...goTasks,
      {
        title: "Keycloak",
        run: async ({ detail }) => {
          estimate.begin(KEYCLOAK);
          keycloak = await obtainKeycloak(detail);
          estimate.done(KEYCLOAK);
          return "there";
        },
      },
      {
        title: "Postgres",
        run: async () => {
          postgresHome();
          return "there already (npm)";
        },
      },
    ],
    quiet ? () => {} : log,
    quiet ? undefined : () => estimate.text(),
  );
  if (!keycloak) throw new Error("Keycloak was not obtained");
  const entry = (name: string): string => entries.get(name) ?? "";
  return {
    programs: Object.fromEntries(programs),
    giteaStatic: entry("gitea"),
    fluxCrds: ["source-controller", "kustomize-controller"].map((name) => join(entry(name), "bases")),
    keycloak,
    postgres: postgresHome(),
  };
}

const partsForGo = (parts: readonly GoPart[]): string[] =>
  parts.filter((part) => programsToBuild(part).length > 0).map(({ title }) => title);

const KEYCLOAK = "keycloak";

/** Postgres comes with npm: it is never missing. */
async function missingParts(parts: readonly GoPart[]): Promise<{ readonly name: string; readonly lane: string }[]> {
  const cached = await Promise.all(parts.map(isCached));
  const missing = parts.filter((_part, at) => cached[at] === false).map(({ name }) => ({ name, lane: "go" }));
  return existsSync(cacheEntry(keycloakCacheKey())) ? missing : [...missing, { name: KEYCLOAK, lane: KEYCLOAK }];
}

async function isCached(part: GoPart): Promise<boolean> {
  const wanted = programsToBuild(part);
  if (wanted.length === 0) return true;
  return existsSync(cacheEntry(goCacheKey(part, wanted, await goVersion(part))));
}
