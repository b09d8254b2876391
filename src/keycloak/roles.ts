/** Realm roles by name, and the guard: no role that contains one of realm-management. */
import type { Clock } from "../lib/clock.ts";
import type { Facts } from "./facts.ts";
import { makeMemo } from "./memo.ts";
import { type Role, roleAnswer, rolesAnswer } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";

export interface Roles {
  find(ask: Ask, name: string): Promise<Role | undefined>;
  /** Names of the realm-management roles inside this role, at any depth. Empty: harmless. */
  adminRoles(ask: Ask, role: Role): Promise<readonly string[]>;
  forget(): void;
}

export function makeRoles(deps: { facts: Facts; clock: Clock }): Roles {
  const found = makeMemo<Role>(deps.clock);
  const grants = makeMemo<readonly string[]>(deps.clock);

  return {
    find: (ask, name) =>
      found.get(name, () =>
        orMissing(ask(`looking up realm role ${name}`, roleAnswer, (client) => client.roles.findOneByName({ name }))),
      ),
    adminRoles: (ask, role) =>
      grants.get(role.id, async () => {
        const realmManagement = await deps.facts.realmManagementID(ask);
        const names = new Set<string>();
        const seen = new Set<string>();
        const open = [role];
        for (let next = open.pop(); next !== undefined; next = open.pop()) {
          if (seen.has(next.id)) continue;
          seen.add(next.id);
          if (next.containerId === realmManagement) names.add(next.name);
          if (next.composite === false) continue;
          const { id } = next;
          open.push(
            ...(await ask(`reading the roles inside role ${role.name}`, rolesAnswer, (client) =>
              client.roles.getCompositeRoles({ id }),
            )),
          );
        }
        return [...names].toSorted();
      }),
    forget() {
      found.forget();
      grants.forget();
    },
  };
}
