/** Groups by path, and the guard: no group that makes its members administrators. */
import type { Clock } from "../lib/clock.ts";
import type { Facts } from "./facts.ts";
import { makeMemo } from "./memo.ts";
import { type GroupTree, groupTreesAnswer, type Role, rolesAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

export interface Group {
  readonly id: string;
  /** As Keycloak writes it, with a slash first. */
  readonly path: string;
  /** Its own id and those of all groups above it, whose roles its members hold too. */
  readonly lineage: readonly string[];
}

export interface Groups {
  find(ask: Ask, path: string): Promise<Group | undefined>;
  /** Names of the realm-management roles that members get; composites and groups above included. Empty: harmless. */
  adminRoles(ask: Ask, group: Group): Promise<readonly string[]>;
  forget(): void;
}

/** "sme-users" and "/sme-users" are the same group. */
export function groupPath(pathOrName: string): string {
  return pathOrName.startsWith("/") ? pathOrName : `/${pathOrName}`;
}

export function makeGroups(deps: { facts: Facts; clock: Clock }): Groups {
  const found = makeMemo<Group>(deps.clock);
  const grants = makeMemo<readonly string[]>(deps.clock);

  return {
    find: (ask, path) =>
      found.get(path, async () => {
        const names = path.split("/").filter((name) => name !== "");
        const leaf = names.at(-1);
        if (leaf === undefined) return undefined;
        const trees = await ask(`looking up group ${path}`, groupTreesAnswer, (client) =>
          client.groups.find({ search: leaf, exact: true, max: 1000, briefRepresentation: true }),
        );
        return descend(trees, names);
      }),
    adminRoles: (ask, group) =>
      grants.get(group.id, async () => {
        const realmManagement = await deps.facts.realmManagementID(ask);
        const names = new Set<string>();
        // Keycloak's composite listing of a group leaves out what it inherits from the groups above.
        for (const id of group.lineage) {
          const roles: Role[] = await ask(`reading the roles of group ${group.path}`, rolesAnswer, (client) =>
            client.groups.listCompositeClientRoleMappings({ id, clientUniqueId: realmManagement }),
          );
          for (const role of roles) names.add(role.name);
        }
        return [...names].toSorted();
      }),
    forget() {
      found.forget();
      grants.forget();
    },
  };
}

/** By name, level by level: a top group called "a/b" must not pass for the child b of a. */
function descend(trees: readonly GroupTree[], names: readonly string[]): Group | undefined {
  const lineage: string[] = [];
  let level: readonly GroupTree[] = trees;
  let here: GroupTree | undefined;
  for (const name of names) {
    here = level.find((group) => group.name === name);
    if (here === undefined) return undefined;
    lineage.unshift(here.id);
    level = here.subGroups ?? [];
  }
  return here === undefined ? undefined : { id: here.id, path: here.path, lineage };
}
