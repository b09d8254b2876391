/** What the end of a tenant means, in words. Pure. */
import { parseDuration } from "../../api/duration.ts";
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

/** States of rows that are left when the objects are gone, with their numbers; `deleted` ones hold nothing. */
export function leftovers({ tenant }: Pick<Survey, "tenant">): ReadonlyMap<string, number> {
  const states = Object.entries(tenant?.status?.users?.byState ?? {});
  return new Map(states.filter(([state, count]) => state !== "deleted" && state !== "waiting" && count > 0));
}

export function planText(name: string, found: Survey, wishes: OffboardWishes): string {
  const { tenant, namespaces, heldByGit } = found;
  if (tenant === undefined && namespaces.length === 0) return `There is nothing of tenant ${name} in this cluster.\n`;
  const users = namespaces.flatMap((each) => each.users);
  const retained = wishes.alsoRetained ? [] : users.filter(({ spec }) => spec.deletionPolicy === "Retain");
  const owed = leftovers(found).get("deleting") ?? 0;
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
  if (retained.length > 0) {
    lines.push(
      `     ${count(retained.length, "has", "have")} deletionPolicy Retain: those accounts stay, and with them the Tenant (--also-retained undoes them).`,
    );
  }
  if (grace !== undefined && users.length > 0) {
    lines.push(
      "     Until then the Tenant stays; run this again afterwards (--skip-grace: nobody needs to come back).",
    );
  }
  if (owed > 0)
    lines.push(
      `     ${count(owed, "person is", "people are")} on the way out already: grace, or a debt of a neighbour.`,
    );
  if (tenant !== undefined) step(`Tenant ${name} is deleted, when nothing is owed any more.`);
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
  const secrets = [...new Set([keycloak.credentialsSecretName, newapi.credentialsSecretName])].join(" ");
  return `Left to you: realm ${keycloak.realm} at ${keycloak.url}, the admin token at ${newapi.url}, the tenant's repository, and
the credentials, unless another Tenant uses them:

  kubectl -n ${operatorNamespace} delete secret ${secrets}
`;
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
