/** Realm roles by name, and the guard: no role that contains one of realm-management. */
import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { Facts } from "./facts.ts";
import type { Memory } from "./memo.ts";
import { type Role, roleAnswer, rolesAnswer } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";
import { terminal } from "./failures.ts";

export interface Roles {
  find(ask: Ask, name: string): Promise<Role | undefined>;
  /** Names of the realm-management roles inside this role, at any depth. Empty: harmless. */
  adminRoles(ask: Ask, role: Role): Promise<readonly string[]>;
}

/** Of one role, at any depth: an upstream that always names more must end somewhere. */
const MOST_INSIDE = 5_000;

export function makeRoles(deps: { facts: Facts; memory: Memory }): Roles {
  const found = deps.memory.memo<Role>();
  const grants = deps.memory.memo<readonly string[]>();

  return {
    find: async (ask, name) =>
      // No role can be asked for by this name: as a part of the path it would be resolved away.
      name === "." || name === ".."
        ? undefined
        : found.get(name, () =>
            orMissing(
              ask(`looking up realm role ${name}`, roleAnswer, (client) => client.roles.findOneByName({ name })),
            ),
          ),
    adminRoles: (ask, role) =>
      grants.get(role.id, async () => {
        const realmManagement = await deps.facts.realmManagementID(ask);
        const names = new Set<string>();
        const seen = new Set([role.id]);
        const open = [role];
        for (let next = open.pop(); next !== undefined; next = open.pop()) {
          if (next.containerId === realmManagement) names.add(next.name);
          if (next.composite === false) continue;
          const { id } = next;
          const inside = await ask(`reading the roles inside role ${role.name}`, rolesAnswer, (client) =>
            client.roles.getCompositeRoles({ id }),
          );
          for (const each of inside) {
            if (seen.has(each.id)) continue;
            seen.add(each.id);
            open.push(each);
            if (seen.size > MOST_INSIDE) throw endless(role);
          }
        }
        return [...names].toSorted();
      }),
  };
}

function endless({ name }: Role): TerminalError {
  return terminal(
    REASON.NotAllowed,
    `Realm role ${name} contains more than ${MOST_INSIDE} roles, too many to see whether one of them makes an administrator; name another one.`,
    { upstreamStatus: 200 },
  );
}
