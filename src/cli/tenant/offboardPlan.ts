/** What the end of a tenant means, in words. Pure. */
import { parseDuration } from "../../api/duration.ts";
import type { LiveTenantUser } from "../../api/tenantUser.ts";
import { shell, shellWord } from "../../lib/shell.ts";
import { WITHHELD_MS } from "../../saga/decide.ts";
import { nameOf, type Survey } from "./survey.ts";

export interface OffboardWishes {
  readonly skipGrace: boolean;
  readonly alsoRetained: boolean;
  readonly keepNamespaces: boolean;
}

/** How long accounts outlive the objects, as the Tenant has it; undefined: they do not. */
export function graceOf({ tenant }: Survey, { skipGrace }: OffboardWishes): string | undefined {
  const grace = tenant?.status?.accepted?.deletionGrace ?? tenant?.spec.deletionGrace ?? "0s";
  return skipGrace || parseDuration(grace) === 0 ? undefined : grace;
}

/** Those whose deletionPolicy Retain counts: for good where the Tenant allows it, for a time where it does not. */
export function retainedOf(
  { tenant, namespaces }: Survey,
  { alsoRetained }: OffboardWishes,
): { readonly kept: readonly LiveTenantUser[]; readonly withheld: readonly LiveTenantUser[] } {
  const users = alsoRetained ? [] : namespaces.flatMap((each) => each.users);
  const retained = users.filter(({ spec }) => spec.deletionPolicy === "Retain");
  const isAllowed = (tenant?.status?.accepted ?? tenant?.spec)?.allow.retain ?? false;
  return isAllowed ? { kept: retained, withheld: [] } : { kept: [], withheld: retained };
}

/** How long they stay locked whose deletionPolicy is not allowed, whatever the grace of the others is. */
export function withheldFor(found: Survey, wishes: OffboardWishes): string {
  const grace = graceOf(found, wishes);
  return grace !== undefined && parseDuration(grace) > WITHHELD_MS ? grace : `${WITHHELD_MS / parseDuration("1d")}d`;
}

/** States of rows that are left when the objects are gone, with their numbers; `deleted` ones hold nothing. */
export function leftovers({ tenant }: Pick<Survey, "tenant">): ReadonlyMap<string, number> {
  const states = Object.entries(tenant?.status?.users?.byState ?? {});
  return new Map(states.filter(([state, count]) => state !== "deleted" && state !== "waiting" && count > 0));
}

export function planText(name: string, found: Survey, wishes: OffboardWishes): string {
  const { tenant, namespaces, heldByGit } = found;
  if (tenant === undefined && namespaces.length === 0) return `There is nothing of tenant ${name} in this cluster.\n`;
  const users = namespaces.flatMap((each) => each.users);
  const { kept, withheld } = retainedOf(found, wishes);
  const pending = leftovers(found).get("deleting") ?? 0;
  const grace = graceOf(found, wishes);
  const going = wishes.keepNamespaces ? [] : namespaces.filter(({ own }) => own);
  const staying = namespaces.filter((each) => !going.includes(each));
  const lines = [`The end of tenant ${name}, in this order:`, ""];
  const step = (text: string): void =>
    void lines.push(`  ${lines.filter((line) => /^ {2}\d/.test(line)).length + 1}. ${text}`);

  if (namespaces.some(({ kustomizations }) => kustomizations.length > 0)) {
    step("Flux's Kustomizations in its namespaces are suspended: no commit brings anybody back.");
  }
  step(
    users.length === 0
      ? "Nobody is left to remove."
      : `${count(users.length, "person is", "people are")} removed: Secrets at once, ${
          grace === undefined
            ? "and their accounts with them"
            : `accounts disabled now and undone after the grace of ${grace}`
        }.`,
  );
  for (const user of users.slice(0, 20)) lines.push(`       ${nameOf(user)}  ${user.spec.email}`);
  if (users.length > 20) lines.push(`       and ${users.length - 20} more`);
  if (kept.length > 0) {
    lines.push(
      `     ${count(kept.length, "has", "have")} deletionPolicy Retain: those accounts stay, and with them the Tenant (--also-retained undoes them).`,
    );
  }
  if (withheld.length > 0) {
    lines.push(
      `     ${count(withheld.length, "has", "have")} a deletionPolicy Retain that the Tenant does not allow: those accounts are locked for ${withheldFor(found, wishes)}, then undone, and the Tenant stays as long (--also-retained treats them as the others).`,
    );
  }
  if (grace !== undefined && users.length > 0) {
    lines.push(
      "     Until then the Tenant stays; run this again afterwards (--skip-grace: nobody needs to come back).",
    );
  }
  if (pending > 0)
    lines.push(
      `     ${count(pending, "person is", "people are")} being deleted already: in their grace, or with a pending cleanup.`,
    );
  if (tenant !== undefined) step(`Tenant ${name} is deleted, when no cleanup is pending.`);
  if (going.length > 0)
    step(`Namespaces are deleted, with everything in them: ${going.map((each) => each.name).join(", ")}.`);
  if (staying.length > 0) {
    lines.push(
      `     Left alone: ${staying.map((each) => each.name).join(", ")}${wishes.keepNamespaces ? "" : " (not made by the onboarding)"}.`,
    );
  }
  if (heldByGit !== undefined) lines.push("", stillInGit(name, heldByGit));
  return `${lines.join("\n")}\n`;
}

export function stillInGit(name: string, kustomization: string): string {
  return `Tenant ${name} is still in Git: Kustomization ${kustomization} would make it again. Take its directory out of the repository, wait until Flux has applied that, and run this again; nothing is deleted by it.`;
}

/** What is not ours to end. */
export function leftToYou({ tenant }: Survey, operatorNamespace: string): string {
  if (tenant === undefined) return "";
  const { keycloak, newapi } = tenant.spec;
  const secrets = [...new Set([keycloak.credentialsSecretName, newapi.credentialsSecretName])].map(shellWord).join(" ");
  return `Left to you: realm ${keycloak.realm} at ${keycloak.url}, the admin token at ${newapi.url}, the tenant's repository, and
the credentials, unless another Tenant uses them:

  ${shell`kubectl -n ${operatorNamespace} delete secret`} ${secrets}
`;
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
