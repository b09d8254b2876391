/** Every rule, by kind. */
import type { Kind } from "../meta.ts";
import type { Rule } from "./rule.ts";
import { tenantRules } from "./tenant.ts";
import { tenantUserRules } from "./tenantUser.ts";

const RULES: Readonly<Record<Kind, readonly Rule[]>> = { TenantUser: tenantUserRules, Tenant: tenantRules };

export function rulesOf(kind: Kind): readonly Rule[] {
  return RULES[kind];
}
