/**
 * Groups, and the guard: no group that makes its members administrators. People name a group by its path; everything else
 * goes by its id, for Keycloak writes the path of a top group called "ops/eu" and that of the group eu below ops alike.
 */
import { groupNames, groupPath } from "../api/names.ts";
import type { Facts } from "./facts.ts";
import type { Memory } from "./memo.ts";
import { type GroupTree, groupTreesAnswer, type Role, rolesAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

export interface Group {
  readonly id: string;
  /** With a slash first, and `~/` for a slash inside a name: no two groups have the same. */
  readonly path: string;
  readonly name: string;
  /** Its own id and those of all groups above it, whose roles its members hold too. */
  readonly lineage: readonly string[];
}

export interface Groups {
  find(ask: Ask, path: string): Promise<Group | undefined>;
  /** The ids of those that exist. */
  ids(ask: Ask, paths: readonly string[]): Promise<ReadonlySet<string>>;
  /** Where nothing is found at a path, a top group may have all of it as its name: how to write that one. */
  meantByName(ask: Ask, path: string): Promise<string | undefined>;
  /** Names of the realm-management roles that members get; composites and groups above included. Empty: harmless. */
  adminRoles(ask: Ask, group: Group): Promise<readonly string[]>;
}

export function pathOf(names: readonly string[]): string {
  return `/${names.map((name) => name.replaceAll("/", "~/")).join("/")}`;
}

export function makeGroups(deps: { facts: Facts; memory: Memory }): Groups {
  const found = deps.memory.memo<Group>();
  const grants = deps.memory.memo<readonly string[]>();

  const search = (ask: Ask, path: string, name: string): Promise<GroupTree[]> =>
    ask(`looking up group ${path}`, groupTreesAnswer, (client) =>
      client.groups.find({ search: name, exact: true, max: 1000, briefRepresentation: true }),
    );

  const find = (ask: Ask, path: string): Promise<Group | undefined> =>
    found.get(path, async () => {
      const names = groupNames(path);
      const leaf = names.at(-1);
      return leaf === undefined ? undefined : descend(await search(ask, path, leaf), names);
    });

  return {
    find,
    async ids(ask, paths) {
      const ids = new Set<string>();
      for (const path of new Set(paths.map(groupPath))) {
        const group = await find(ask, path);
        if (group !== undefined) ids.add(group.id);
      }
      return ids;
    },
    async meantByName(ask, path) {
      const name = groupNames(path).join("/");
      if (!name.includes("/")) return undefined;
      const trees = await search(ask, path, name);
      return trees.some((group) => group.name === name) ? pathOf([name]) : undefined;
    },
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
  return here === undefined ? undefined : { id: here.id, name: here.name, path: pathOf(names), lineage };
}
