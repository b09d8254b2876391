import type { Facts } from "./facts.ts";
import type { Groups } from "./groups.ts";
import type { Memory } from "./memo.ts";
import type { NewUsers } from "./newUsers.ts";
import type { Roles } from "./roles.ts";

/** What a tenant's realm is worked with. */
export interface Parts {
  readonly realm: string;
  readonly memory: Memory;
  readonly facts: Facts;
  readonly groups: Groups;
  readonly roles: Roles;
  readonly newUsers: NewUsers;
}
